"""Settings for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# machines are shared and slow at times: an example's duration says nothing about the code
settings.register_profile("toprung", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
settings.load_profile("toprung")
