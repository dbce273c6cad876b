"""A repository whose views are fed by pushes and by files, and its feature server, called without a socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, RequestSource
from feast.data_source import PushSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Array, Float64, Int64, Map, String
from feast.value_type import ValueType

from tests.feast.repo import at, feature_store
from tests.unit.serving.kit import Answered, call
from yummy_feast import ParquetSource
from yummy_feast.serving.features.app import FeatureApp
from yummy_feast.serving.features.options import ServingOptions

T = TypeVar("T")

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
MICROS = pa.timestamp("us", "UTC")
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
SCHEMA = pa.schema(
    [
        ("driver_id", pa.int64()),
        ("known_at", MICROS),
        ("written_at", MICROS),
        ("trips", pa.int64()),
        ("rate", pa.float64()),
    ]
)
FIELDS = {"trips": Int64, "rate": Float64}


def lay(folder: Path, count: int = 3) -> None:
    """Rows of drivers 0, 1, ...: ten trips more each, half a minute older each."""
    numbers = range(count)
    columns = [
        list(numbers),
        [NOW - timedelta(seconds=30 * number) for number in numbers],
        [NOW] * count,
        [10 * number for number in numbers],
        [0.5] * count,
    ]
    pq.write_table(pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA), folder / "rows.parquet")


def view(name: str, source: Any, fields: Any = None, entities: Any = None, **options: Any) -> FeatureView:
    schema = [Field(name=each, dtype=dtype) for each, dtype in (fields or FIELDS).items()]
    keywords = {"ttl": timedelta(0), **options}
    return FeatureView(
        name=name, entities=[DRIVER] if entities is None else entities, schema=schema, source=source, **keywords
    )


asked = RequestSource(name="asked", schema=[Field(name="base", dtype=Int64)])


@on_demand_feature_view(
    sources=[asked],
    entities=[DRIVER],
    schema=[Field(name="doubled", dtype=Int64)],
    mode="pandas",
    write_to_online_store=True,
)
def computed(inputs: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"doubled": inputs["base"] * 2})


def repository(folder: Path, online: dict[str, Any], **options: Any) -> FeatureStore:
    """`stats` and `again` are pushed to `pushed`; `filed` has rows of a file, `rich` other types, `world` no entity."""
    lay(folder)
    times = {"timestamp_field": "known_at", "created_timestamp_column": "written_at"}
    rows = ParquetSource("rows.parquet", name="rows", **times)
    other = ParquetSource("rows.parquet", name="other_rows", timestamp_field="known_at")
    push = PushSource(name="pushed", batch_source=rows)
    store = feature_store(folder, online=online, **options)
    store.apply(
        [
            DRIVER,
            rows,
            other,
            push,
            view("stats", push),
            view("again", push, {"trips": Int64}),
            view("filed", other),
            view("rich", other, {"tags": Array(String), "facts": Map}),
            view("world", other, {"total": Int64}, []),
            computed,
        ]
    )
    return store


def at_address(folder: Path, address: str, **options: Any) -> FeatureStore:
    return repository(folder, at(address, connect_timeout="500ms", read_timeout="500ms"), **options)


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port where nobody answers, and nobody else will: it is taken, and not listened at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


Ask = Callable[..., Awaitable[Answered]]


def serve(store: FeatureStore, play: Callable[[Ask], Awaitable[T]], folder: Path | None = None) -> T:
    """What ``play`` makes of a running server: it is given a function that sends a request (path, body)."""

    async def main() -> T:
        app = FeatureApp(store, ServingOptions(registry_poll=0), folder)
        await app.start()

        async def ask(path: str, body: Any = None, **more: Any) -> Answered:
            return await call(app, path, body, **{"method": "GET" if body is None else "POST", **more})

        try:
            async with asyncio.timeout(60):
                while (await ask("/health")).status == 503 and not app._health.is_warm:
                    await asyncio.sleep(0.01)
                return await play(ask)
        finally:
            await app.stop()

    return asyncio.run(main())


async def read(ask: Ask, *features: str, drivers: tuple[int, ...] = (7,)) -> dict[str, list[Any]]:
    answered = await ask("/get-online-features", {"features": features, "entities": {"driver_id": drivers}})
    assert answered.status == 200, answered.json
    values = answered.values
    del values["driver_id"]
    return values


def df(**changes: Any) -> dict[str, list[Any]]:
    """One row of driver 7."""
    row = {
        "driver_id": [7],
        "known_at": [NOW.isoformat()],
        "written_at": [NOW.isoformat()],
        "trips": [70],
        "rate": [0.25],
    }
    return {name: column for name, column in {**row, **changes}.items() if column is not None}
