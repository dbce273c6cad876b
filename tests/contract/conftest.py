"""Every suite for engines runs over every engine, over rows in memory and in Parquet; that for formats over every
format, on this machine and in every object store; that for online stores over every layout, on one server and in a
cluster, called and awaited.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.engine_kit import Kit
from tests.contract.format_cases import CASES, FormatCase
from tests.contract.online_kit import OnlineKit
from tests.online_server import address, cluster, cluster_of_session, server
from tests.store_servers import FIXTURES, server_at
from yummy_feast.offline.engines.table import ENGINES
from yummy_feast.online.layouts import LAYOUTS
from yummy_feast.online.redis import RedisSettings, connect

__all__ = ["address", "cluster", "cluster_of_session", "server"]


def params_of(engine: str) -> list[Any]:
    """An engine over both ways to store rows; Spark, which takes seconds to start, among the slow tests."""
    marks = [pytest.mark.slow, pytest.mark.spark] if engine == "spark" else []
    return [pytest.param((engine, stored), id=f"{engine}-{stored}", marks=marks) for stored in ("memory", "parquet")]


@pytest.fixture(params=[param for engine in sorted(ENGINES) for param in params_of(engine)])
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    engine, stored = request.param
    if engine == "spark":
        request.getfixturevalue("spark_session")
    return Kit(engine, stored, tmp_path)


def format_params() -> list[Any]:
    """Every format on every kind of store; object stores, whose quick tests are in ``tests/unit/sources``, among the
    slow ones.
    """
    return [
        pytest.param((kind, store), id=f"{kind.name}-{store}", marks=[] if store == "local" else [pytest.mark.slow])
        for kind in CASES
        for store in ("local", *FIXTURES)
    ]


@pytest.fixture(params=format_params())
def case(request: pytest.FixtureRequest, tmp_path: Path) -> FormatCase:
    kind, store = request.param
    made: FormatCase = kind(tmp_path, server_at(request, store))
    return made


@pytest.fixture(
    params=[
        (layout, place, calls)
        for layout in sorted(LAYOUTS)
        for place in ("redis", "redis_cluster")
        for calls in ("sync", "async")
    ],
    ids="-".join,
)
def online(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnlineKit]:
    layout, place, calls = request.param
    name = "address" if place == "redis" else "cluster"
    found = request.getfixturevalue(name)
    where = found if place == "redis" else found.address
    with connect(RedisSettings.parse(where, redis_type=place)) as client:
        made = OnlineKit(layout, place, calls, where, client, tmp_path)
        yield made
        made.close()
