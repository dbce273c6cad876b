"""The data of the original benchmark of the plugin, its repositories, and what a server must answer about it.

Draws of ids, ten int32 features in each of 25 feature views, feature services of 50, 100 .. 250 features. The same
features can also be spread over fewer or more views. One process writes one repository and its rows:

python -m benchmarks.features_data rows|feast FOLDER CONNECTION_STRING FILE FEATURES:VIEWS ...
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import report

PROJECT = "sweep"
FEATURES = [f"feature_{i}" for i in range(250)]
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Spread:
    """What a feature service is made of: the first ``features`` features, evenly spread over ``views`` views."""

    features: int
    views: int

    @property
    def service(self) -> str:
        return f"service_{self.features}_in_{self.views}"

    def names(self) -> dict[str, list[str]]:
        """View -> its features. A view's name says which it has, so that services share views."""
        width = self.features // self.views
        return {
            f"view_{start}_to_{start + width}": FEATURES[start : start + width]
            for start in range(0, self.features, width)
        }


def draws(ids: int) -> pd.DataFrame:
    """A row per entity that is online, by entity: the last of its draws, each of which has a second of its own.

    ``ids`` draws from as many ids, so that about a third of the ids has no row; all within the last hours.
    """
    chance = np.random.default_rng(20260104)
    moment = pd.Timestamp(datetime.now(UTC).replace(microsecond=0))
    events = moment - pd.to_timedelta(np.arange(ids, 0, -1) * 3600 * 3 // ids + 60, unit="s")
    columns = {"entity": chance.integers(0, ids, ids), "event_timestamp": events}
    columns |= {name: chance.integers(1, 10_000, ids).astype(np.int32) for name in FEATURES}
    return pd.DataFrame(columns).drop_duplicates("entity", keep="last").sort_values("entity", ignore_index=True)


def objects(spreads: Sequence[Spread], source: Any) -> list[Any]:
    """What a repository applies: entity, feature views over ``source``, one feature service for each spread."""
    from feast import Entity, FeatureService, FeatureView, Field
    from feast.types import Int32, Int64
    from feast.value_type import ValueType

    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    views = {
        view: FeatureView(
            name=view,
            entities=[entity],
            ttl=timedelta(days=1),
            schema=[Field(name="entity", dtype=Int64), *(Field(name=one, dtype=Int32) for one in names)],
            source=source,
        )
        for view, names in views_of(spreads).items()
    }
    services = [FeatureService(name=one.service, features=[views[view] for view in one.names()]) for one in spreads]
    return [entity, *views.values(), *services]


def views_of(spreads: Sequence[Spread]) -> dict[str, list[str]]:
    return {view: names for spread in spreads for view, names in spread.names().items()}


def open_repository(folder: Path, config: dict[str, Any]) -> Any:
    """Write feature_store.yaml (JSON is YAML) into ``folder``; the FeatureStore."""
    from feast import FeatureStore

    folder.mkdir(parents=True)
    common = {"project": PROJECT, "registry": str(folder / "registry.db"), "entity_key_serialization_version": 3}
    (folder / "feature_store.yaml").write_text(json.dumps({**common, **config}, indent=2))
    return FeatureStore(repo_path=str(folder))


def fill_ours(folder: Path, connection_string: str, spreads: Sequence[Spread], file: Path) -> None:
    """A repository of ours with layout rows, materialized from ``file``."""
    from yummy_feast import ParquetSource

    online = {"type": "yummy_feast.YummyOnlineStore", "layout": "rows", "connection_string": connection_string}
    ours = {"provider": "yummy_feast.YummyProvider", "offline_store": {"type": "yummy_feast.YummyOfflineStore"}}
    store = open_repository(folder, {**ours, "online_store": online})
    store.apply(objects(spreads, ParquetSource(name="source", path=str(file), timestamp_field="event_timestamp")))
    now = datetime.now(UTC)
    store.materialize(now - timedelta(days=1), now)


def fill_feasts(folder: Path, connection_string: str, spreads: Sequence[Spread], file: Path) -> None:
    """A repository of stock Feast and its Redis store, written by Feast."""
    from feast import FileSource

    online = {"type": "redis", "connection_string": connection_string}
    store = open_repository(folder, {"provider": "local", "offline_store": {"type": "file"}, "online_store": online})
    store.apply(objects(spreads, FileSource(name="source", path=str(file), timestamp_field="event_timestamp")))
    frame = pd.read_parquet(file)
    for view, names in views_of(spreads).items():
        store.write_to_online_store(view, frame[["entity", "event_timestamp", *names]])


class Truth:
    """Compares answers with the rows that were written."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame.set_index("entity")
        self._known = set(self._frame.index)

    def complaint(self, answer: str, spread: Spread, entities: list[int], *, exact: bool) -> str | None:
        """What is wrong with the body of an answer about ``entities``; None if it is right.

        exact: also the statuses of rows that are absent, and event timestamps; Feast calls an absent row PRESENT.
        """
        try:
            found = json.loads(answer)
            names = found["metadata"]["feature_names"]
            columns = dict(zip(names, found["results"], strict=True))
        except (ValueError, KeyError, TypeError):
            return f"is no answer: {answer[:200]!r}"
        wanted = ["entity", *FEATURES[: spread.features]]
        if sorted(names) != sorted(wanted):
            return f"names {len(names)} columns, not {len(wanted)}"
        rows = self._frame.reindex(entities)
        is_known = [entity in self._known for entity in entities]
        for name in wanted:
            values = entities if name == "entity" else _or_none(rows[name], is_known)
            if columns[name]["values"] != values:
                return f"{name} is {columns[name]['values'][:5]}, written was {values[:5]} of entities {entities[:5]}"
            present = [known or name == "entity" for known in is_known]
            complaint = _status_complaint(columns[name], present, exact=exact)
            if complaint is None and exact and name != "entity":
                complaint = _time_complaint(columns[name], rows["event_timestamp"], is_known)
            if complaint:
                return f"{name} {complaint}"
        return None


def _or_none(column: pd.Series[Any], is_known: list[bool]) -> list[int | None]:
    return [int(value) if known else None for value, known in zip(column, is_known, strict=True)]


def _status_complaint(column: dict[str, Any], present: list[bool], *, exact: bool) -> str | None:
    wanted = ["PRESENT" if here else "NOT_FOUND" for here in present]
    pairs = zip(column["statuses"], wanted, strict=True)
    if all(status == right or (right == "NOT_FOUND" and not exact) for status, right in pairs):
        return None
    return f"has statuses {column['statuses'][:5]}, not {wanted[:5]}"


def _time_complaint(column: dict[str, Any], events: pd.Series[Any], is_known: list[bool]) -> str | None:
    wanted = [moment if known else EPOCH for moment, known in zip(events, is_known, strict=True)]
    found = [datetime.fromisoformat(text) for text in column["event_timestamps"]]
    return None if found == wanted else f"has event timestamps {found[:3]}, not {wanted[:3]}"


def main(name: str, folder: str, connection_string: str, file: str, *spreads: str) -> None:
    fill = fill_ours if name == "rows" else fill_feasts
    chosen = [Spread(*map(int, one.split(":"))) for one in spreads]
    fill(Path(folder), connection_string, chosen, Path(file))
    report(folder=folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
