"""Settings of every test: one thread a process, no downloads, and property tests that give the same cases each time."""

from __future__ import annotations

import os

# Before torch is imported by any test: two workers of several threads each would fight over two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A test that needs a download would pass here and fail elsewhere; so none may.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

from hypothesis import HealthCheck, settings

settings.register_profile(
    "zoo", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("zoo")
