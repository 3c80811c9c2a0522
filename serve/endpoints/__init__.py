"""The routes of the HTTP API, one module per kind of thing. Each parses, calls the store, and returns."""
