"""Our feature server as uvicorn starts it, for the repository that the environment names."""

from __future__ import annotations

import os

from yummy_feast.serving.features.app import FeatureApp

REPOSITORY = "YUMMY_BENCH_REPOSITORY"


def create() -> FeatureApp:
    from feast import FeatureStore

    return FeatureApp(FeatureStore(repo_path=os.environ[REPOSITORY]))
