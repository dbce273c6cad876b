"""What each worker of a feature server needs, imported once before they are forked."""

from __future__ import annotations

import gc

from yummy_feast.serving.lean import unchecked_feast

with unchecked_feast():
    from yummy_feast.serving.features.app import FeatureApp
    from yummy_feast.serving.worker import Worker

__all__ = ["FeatureApp", "Worker"]

# What is never looked at is never copied: the workers share it.
gc.freeze()
