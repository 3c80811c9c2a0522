"""Machines: how they are brought up and what is on them. Nothing here knows of sweeps."""
