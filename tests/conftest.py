"""What every test shares: hypothesis profiles, nothing else."""

import os

from hypothesis import HealthCheck, settings

# No deadline: a shared machine may stall any example. In CI every run draws the same examples, so that a red run is
# about the change; a developer's run keeps looking for new ones.
_COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("here", **_COMMON)
settings.register_profile("ci", derandomize=True, **_COMMON)
settings.load_profile("ci" if os.environ.get("CI") else "here")
