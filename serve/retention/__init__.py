"""What is removed from the service's disk, and when: deleted sweeps, and what nobody needs (docs/retention.md)."""
