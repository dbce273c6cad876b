"""Every suite for engines runs over every engine, over rows in memory and in Parquet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.engine_kit import Kit
from yummy_feast.offline.engines.table import ENGINES


@pytest.fixture(
    params=[(engine, stored) for engine in sorted(ENGINES) for stored in ("memory", "parquet")], ids="-".join
)
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    engine, stored = request.param
    return Kit(engine, stored, tmp_path)
