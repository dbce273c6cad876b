"""Who is measured by the online benchmark: stores filled with the same rows, and plain HMGETs of what they read."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

PROJECT = "bench"
OURS = "yummy_feast.YummyOnlineStore"
ONLINE_STORES = {
    "feast": {"type": "redis"},
    "rows": {"type": OURS, "layout": "rows"},
    "layout-feast": {"type": OURS, "layout": "feast"},
}
# Each has a database of its own on the one server.
DATABASES = {"feast": 1, "rows": 2, "layout-feast": 3}
CONTENDERS = {
    "feast": "Feast's Redis store",
    "rows": "yummy",
    "layout-feast": "yummy, layout: feast",
    "hmget-rows": "HMGET of yummy's fields",
    "hmget-feast": "HMGET of Feast's fields",
    "socket-rows": "bare socket, yummy's fields",
}
# What answers with features, and so can be wrong.
STORES = ("feast", "rows", "layout-feast")


@dataclass(frozen=True, slots=True)
class Shape:
    """``features`` in all, spread evenly over ``views``; ``keys`` entities are online."""

    features: int
    views: int
    keys: int

    @property
    def names(self) -> dict[str, list[str]]:
        """View -> its features; every second one is float32, the others int64."""
        width = self.features // self.views
        return {f"view_{v}": [f"feature_{v * width + i}" for i in range(width)] for v in range(self.views)}


def is_float(name: str) -> bool:
    return bool(int(name.removeprefix("feature_")) % 2)


def values(shape: Shape) -> pd.DataFrame:
    """One row per entity."""
    random = np.random.default_rng(7)
    columns = {
        name: random.random(shape.keys, np.float32) if is_float(name) else random.integers(-(10**6), 10**6, shape.keys)
        for names in shape.names.values()
        for name in names
    }
    moment = datetime.now(UTC).replace(microsecond=0)
    return pd.DataFrame({"entity": np.arange(shape.keys), "event_timestamp": moment, **columns})


def open_stores(shape: Shape, address: str, folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows, and a FeatureStore per contender that has been given them."""
    frame = values(shape)
    file = folder / "rows.parquet"
    # Feast looks into a source's file when it applies it; rows go online from the frame.
    frame.to_parquet(file)
    return frame, {name: open_store(name, shape, address, folder, file, frame) for name in STORES}


def open_store(name: str, shape: Shape, address: str, folder: Path, file: Path, frame: pd.DataFrame) -> Any:
    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig
    from feast.types import Float32, Int64
    from feast.value_type import ValueType

    online = {**ONLINE_STORES[name], "connection_string": f"{address},db={DATABASES[name]}"}
    config = RepoConfig(
        project=PROJECT,
        provider="local",
        registry=str(folder / f"{name}.db"),
        online_store=online,
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    source = FileSource(name="source", path=str(file), timestamp_field="event_timestamp")
    views = [
        FeatureView(
            name=view,
            entities=[entity],
            ttl=timedelta(days=30),
            schema=[
                Field(name="entity", dtype=Int64),
                *(Field(name=one, dtype=Float32 if is_float(one) else Int64) for one in names),
            ],
            source=source,
        )
        for view, names in shape.names.items()
    ]
    store.apply([entity, *views, FeatureService(name="all", features=views)])
    for view, names in shape.names.items():
        store.write_to_online_store(view, frame[["entity", "event_timestamp", *names]])
    return store


def expected(frame: pd.DataFrame, entities: int) -> dict[str, list[Any]]:
    """The answer for the first ``entities``, from the frame that was written."""
    names = [name for name in frame.columns if name != "event_timestamp"]
    return {name: frame[name].iloc[:entities].tolist() for name in names}


def fetch(store: Any, service: Any, rows: list[dict[str, int]]) -> dict[str, list[Any]]:
    answer: dict[str, list[Any]] = store.get_online_features(service, rows).to_dict()
    return answer


async def fetch_async(store: Any, service: Any, rows: list[dict[str, int]]) -> dict[str, list[Any]]:
    answer: dict[str, list[Any]] = (await store.get_online_features_async(service, rows)).to_dict()
    return answer


def calls(
    stores: dict[str, Any], shape: Shape, address: str, entities: int, until: ExitStack
) -> dict[str, Callable[[], Any]]:
    """What is timed for the first ``entities``, per contender. Connections are closed with ``until``."""
    rows = [{"entity": number} for number in range(entities)]
    found: dict[str, Callable[[], Any]] = {
        name: partial(fetch, store, store.get_feature_service("all"), rows) for name, store in stores.items()
    }
    found["hmget-rows"] = hmget(stores["rows"], "rows", shape, address, entities)
    found["hmget-feast"] = hmget(stores["layout-feast"], "layout-feast", shape, address, entities)
    found["socket-rows"] = until.enter_context(bare_socket(stores["rows"], "rows", shape, address, entities))
    return found


def keys_and_fields(store: Any, shape: Shape, entities: int) -> tuple[list[bytes], list[bytes]]:
    """The hashes of the first ``entities``, and the fields of each that a store's answer takes."""
    from feast.value_type import ValueType

    from yummy_feast.online.layouts import layout_of

    layout = layout_of(store.config)
    encoder = layout.key_encoder(PROJECT, [("entity", ValueType.INT64)])
    keys = encoder.encode_columns({"entity": list(range(entities))})
    return keys, [field for view, names in shape.names.items() for field in layout.fields(view.encode(), names)]


def hmget(store: Any, name: str, shape: Shape, address: str, entities: int) -> Callable[[], list[list[bytes]]]:
    """redis-py's pipeline of the HMGETs that a store's answer takes, with nothing made of the replies."""
    from redis import Redis

    keys, fields = keys_and_fields(store, shape, entities)
    host, _, port = address.rpartition(":")
    client = Redis(host=host, port=int(port), db=DATABASES[name])

    def read() -> list[list[bytes]]:
        pipe = client.pipeline(transaction=False)
        for key in keys:
            pipe.hmget(key, fields)
        replies: list[list[bytes]] = pipe.execute()
        return replies

    return read


@contextmanager
def bare_socket(
    store: Any, name: str, shape: Shape, address: str, entities: int
) -> Iterator[Callable[[], list[list[bytes]]]]:
    """The same HMGETs without any client: bytes packed once, sent in one go, and hiredis to split the replies.

    What is left is the server's time and the way there and back, which no store can go below.
    """
    import hiredis

    keys, fields = keys_and_fields(store, shape, entities)
    request = b"".join(hiredis.pack_command((b"HMGET", key, *fields)) for key in keys)
    host, _, port = address.rpartition(":")
    link = socket.create_connection((host, int(port)), timeout=10)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = hiredis.Reader()

    def exchange(packed: bytes, count: int) -> list[Any]:
        link.sendall(packed)
        replies: list[Any] = []
        while len(replies) < count:
            reply = reader.gets()
            if reply is not False:
                replies.append(reply)
                continue
            data = link.recv(1 << 16)
            if not data:
                raise ConnectionError(f"{address} closed the connection after {len(replies)} of {count} replies")
            reader.feed(data)
        return replies

    with link:
        exchange(hiredis.pack_command((b"SELECT", str(DATABASES[name]))), 1)
        yield partial(exchange, request, entities)


def is_full(replies: Sequence[Sequence[bytes | None]], entities: int) -> bool:
    """Whether plain HMGETs found every field of every entity: else they read less than the stores."""
    return len(replies) == entities and all(cell is not None for reply in replies for cell in reply)
