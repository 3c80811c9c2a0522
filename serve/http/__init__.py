"""The HTTP API: an application over a store, without the cluster it runs on."""
