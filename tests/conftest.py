"""Settings for all tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Ray's workers would wait for whatever else is tested meanwhile: at its usual 15 they get 3 % of a busy processor
os.environ.setdefault("RAY_worker_niceness", "0")

# machines are shared and slow at times: an example's duration says nothing about the code
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
# the gate says the same of the same commit; HYPOTHESIS_PROFILE=new looks for what nobody has thought of
settings.register_profile("same", settings.get_profile("new"), derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
