"""Every call of an online store that reaches Redis, by name, each on the store of a small applied repository."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from feast import FeatureStore, FeatureView, Field
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Int64

from tests.feast.faults import DRIVER, NOON, parquet
from tests.feast.repo import at, feature_store
from yummy_feast.online.store import YummyOnlineStore

KEYS: Final = 300
"""Rows of a call: over several scripts, and every node of a cluster."""


@dataclass(frozen=True)
class Calls:
    """The calls over ``KEYS`` rows of one view, whose feature `trips` is the key plus ``offset``."""

    store: FeatureStore
    online: YummyOnlineStore

    @classmethod
    def of(cls, folder: Path, address: str, **settings: Any) -> Calls:
        """On a store at ``address``. The waits are short, so that a test need not wait."""
        short = {"connect_timeout": "500ms", "read_timeout": "500ms", "retries": 1}
        # A store of its own: its connections, and what it knows of a cluster, are not those of another test.
        store = feature_store(folder, online=at(address, **{**short, **settings}))
        views = [
            FeatureView(name=name, entities=[DRIVER], schema=[Field(name="trips", dtype=Int64)], source=parquet(folder))
            for name in ("stats", "gone")
        ]
        store.apply([DRIVER, *views])
        return cls(store, store._get_provider().online_store)  # type: ignore[attr-defined]

    def online_write_batch(self, offset: int = 0, view: str = "stats") -> None:
        moment = NOON + timedelta(seconds=offset)
        rows = [(key(number), {"trips": Value(int64_val=number + offset)}, moment, None) for number in range(KEYS)]
        self.online.online_write_batch(self.store.config, self.store.get_feature_view(view), rows, None)

    def write_arrow(self, offset: int = 0, count: int = KEYS) -> None:
        moment = NOON + timedelta(seconds=offset)
        columns = {
            "driver_id": pa.array(range(count), pa.int64()),
            "at": pa.array([moment] * count, pa.timestamp("us", "UTC")),
            "trips": pa.array(range(offset, count + offset), pa.int64()),
        }
        batch = pa.RecordBatch.from_pydict(columns)
        self.online.write_arrow(self.store.config, self.store.get_feature_view("stats"), [batch], "at")

    def online_read(self) -> list[int | None]:
        view = self.store.get_feature_view("stats")
        rows = self.online.online_read(self.store.config, view, [key(number) for number in range(KEYS)], ["trips"])
        return [None if values is None else values["trips"].int64_val for _, values in rows]

    def get_online_features(self) -> list[int | None]:
        answer = self.store.get_online_features(["stats:trips"], {"driver_id": list(range(KEYS))}).to_dict()
        found: list[int | None] = answer["trips"]
        return found

    def update(self) -> None:
        gone, kept = self.store.get_feature_view("gone"), self.store.get_feature_view("stats")
        self.online.update(self.store.config, [gone], [kept], [], [], False)

    def teardown(self) -> None:
        self.online.teardown(self.store.config, [], [])


WRITES: Final[dict[str, Callable[[Calls], object]]] = {
    "online_write_batch": Calls.online_write_batch,
    "write_arrow": Calls.write_arrow,
}
READS: Final[dict[str, Callable[[Calls], object]]] = {
    "online_read": Calls.online_read,
    "get_online_features": Calls.get_online_features,
}
REMOVALS: Final[dict[str, Callable[[Calls], object]]] = {"update": Calls.update, "teardown": Calls.teardown}
ALL: Final = {**WRITES, **READS, **REMOVALS}


def key(number: int) -> EntityKey:
    return EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=number)])
