"""Telling other services what happens: Standard Webhooks, signed, sent again until they arrive."""
