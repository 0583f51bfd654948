"""Settings for all tests: how many examples the property tests draw."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("test", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("fuzz", max_examples=20_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))
