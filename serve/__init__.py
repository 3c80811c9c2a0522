"""The service: HTTP on Ray Serve, the store, the controller, tracking."""
