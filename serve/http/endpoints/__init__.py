"""The routes, by what they are about. Each parses, calls the store and returns."""
