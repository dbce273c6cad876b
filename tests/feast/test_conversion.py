"""`yummy store convert`: rows of one layout into the other, while they are written and read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, Field
from feast.types import Float64, Int64
from feast.value_type import ValueType

from tests.feast.repo import at, feature_store
from tests.feast.test_types import CASES, KEYS, THING
from tests.feast.test_types import table as typed_table
from tests.feast.test_types import view as typed_view
from tests.feast.test_verify import DRIVER, MICROS, REGION, lay, stats
from tests.online_server import address, client, client_of, server
from tests.stored_values import same
from yummy_feast import ParquetSource
from yummy_feast.cli import main
from yummy_feast.errors import ConfigError
from yummy_feast.online.conversion import Conversion, Copied, convert

__all__ = ["address", "client", "server"]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LAYOUTS = ("rows", "feast")
DRIVERS = 30
OTHER = {"rows": "feast", "feast": "rows"}

both_ways = pytest.mark.parametrize("source", LAYOUTS)


def opened(folder: Path, address: str, layout: str, **settings: Any) -> FeatureStore:
    """The same repository under any layout."""
    return feature_store(folder, online=at(address, layout=layout, **settings))


def write(store: FeatureStore, driver: int, event: datetime, trips: int) -> None:
    frame = pd.DataFrame({"driver_id": [driver], "known_at": [event], "trips": [trips]})
    store.write_to_online_store("stats", frame)


def trips(store: FeatureStore, drivers: int = DRIVERS) -> list[Any]:
    rows = [{"driver_id": number} for number in range(drivers)]
    return list(store.get_online_features(["stats:trips"], rows).to_dict()["trips"])


def filled(folder: Path, address: str, source: str) -> FeatureStore:
    """A driver's trips are his number."""
    lay(folder, *((driver, NOON, driver) for driver in range(DRIVERS)))
    store = opened(folder, address, source)
    store.apply([DRIVER, stats()])
    store.materialize(NOON, NOON)
    return store


def only(found: Conversion) -> Copied:
    (copied,) = found.views
    return copied


def keys_of(client: Any, layout: str) -> list[bytes]:
    if layout == "rows":
        return sorted(key for key in client.scan_iter(match=b"lab\0*") if not key.startswith((b"lab\0s", b"lab\0p")))
    return sorted(client.scan_iter(match=b"*lab"))


# ------------------------------------------------------------------------------------------------- what is copied


@both_ways
def test_every_type(tmp_path: Path, address: str, source: str) -> None:
    before = opened(tmp_path, address, source)
    pq.write_table(typed_table(*CASES), tmp_path / "rows.parquet")
    before.apply([THING, typed_view("things", ParquetSource("rows.parquet", timestamp_field="known_at"), *CASES)])
    before.materialize(NOON - 24 * HOUR, NOON + 24 * HOUR)
    features = [f"things:{name}" for name in CASES]
    expected = before.get_online_features(features, KEYS).to_dict(include_event_timestamps=True)

    found = convert(before, OTHER[source])
    assert (only(found).copied, only(found).unreadable, found.keys) == (5, 0, 5), only(found).examples

    answer = opened(tmp_path, address, OTHER[source]).get_online_features(features, KEYS)
    converted = answer.to_dict(include_event_timestamps=True)
    for name, values in expected.items():
        assert same(converted[name], values), name


@both_ways
def test_keys_of_every_kind(tmp_path: Path, address: str, source: str) -> None:
    """Several join keys, none, times and bytes as keys; two views in one hash."""
    hour = Entity(name="hour", join_keys=["hour_start"], value_type=ValueType.UNIX_TIMESTAMP)
    code = Entity(name="code", join_keys=["code_id"], value_type=ValueType.BYTES)
    columns = {
        "driver_id": [1, 2],
        "region_id": ["", "ž"],
        "hour_start": pa.array([NOON, NOON - HOUR], MICROS),
        "code_id": [b"\0\xff", b"lab"],
        "known_at": pa.array([NOON, NOON], MICROS),
        "trips": [5, 6],
    }
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    entities: dict[str, list[Entity]] = {
        "stats": [DRIVER], "twin": [DRIVER], "pairs": [REGION, DRIVER], "hours": [hour], "codes": [code], "world": [],
    }  # fmt: skip
    store = opened(tmp_path, address, source)
    store.apply([DRIVER, REGION, hour, code, *(stats(name=name, entities=held) for name, held in entities.items())])
    # No row of this one can be: Feast itself has no key of that type. It is nobody's obstacle.
    flag = Entity(name="flag", join_keys=["flag_id"], value_type=ValueType.BOOL)
    store.apply([flag, stats(name="flags", entities=[flag])])
    store.materialize(NOON, NOON, feature_views=list(entities))
    asked = {name: [column.join_key for column in held] for name, held in entities.items()}
    rows = {name: [{key: columns[key][at] for key in keys} for at in (0, 1)] for name, keys in asked.items()}
    rows["hours"] = [{"hour_start": NOON}, {"hour_start": NOON - HOUR}]

    def answers(layout: str) -> dict[str, Any]:
        reader = opened(tmp_path, address, layout)
        return {name: reader.get_online_features([f"{name}:trips"], rows[name]).to_dict()["trips"] for name in rows}

    assert answers(OTHER[source])["pairs"] == [None, None]
    found = convert(store, OTHER[source])
    assert {view.view: view.copied for view in found.views} == dict.fromkeys(entities, 2) | {"world": 1}
    assert (found.keys, found.foreign) == (2 + 2 + 2 + 2 + 1, 0)
    assert answers(OTHER[source]) == answers(source)
    assert answers(source)["pairs"] == [5, 6]


def test_feast_itself_reads_what_was_converted(tmp_path: Path, address: str) -> None:
    filled(tmp_path, address, "rows")
    convert(opened(tmp_path, address, "rows"), "feast")
    stock = feature_store(tmp_path, online={"type": "redis", "connection_string": "localhost:1"})
    with client_of(address) as connected:
        # Its connection string knows no sockets.
        stock.provider.online_store._client = connected
        assert trips(stock) == list(range(DRIVERS))


def test_versions_of_a_view(tmp_path: Path, address: str) -> None:
    registry = {"path": str(tmp_path / "registry.db"), "enable_online_feature_view_versioning": True}
    lay(tmp_path, (0, NOON, 1))
    rows, feast = (
        feature_store(tmp_path, online=at(address, layout=kind), top={"registry": registry}) for kind in LAYOUTS
    )
    for dtype in (Int64, Float64):
        rows.apply([DRIVER, stats(Field(name="trips", dtype=dtype))])
        rows.materialize(NOON, NOON)
    found = convert(rows, "feast")
    assert [(view.view, view.copied) for view in found.views] == [("stats", 1), ("stats_v1", 1)]
    for name, value in (("stats@v0", 1), ("stats@v1", 1.0)):
        answer = feast.get_online_features([f"{name}:trips"], [{"driver_id": 0}]).to_dict(include_event_timestamps=True)
        assert (answer["trips"], type(answer["trips"][0])) == ([value], type(value))


def test_a_view_that_no_registry_knows_is_told_by_its_schema(tmp_path: Path, address: str) -> None:
    store = opened(tmp_path, address, "rows", full_scan_for_deletion=False)
    lay(tmp_path, (0, NOON, 7))
    store.apply([DRIVER, stats(), stats(name="gone")])
    store.materialize(NOON, NOON)
    store.delete_feature_view("gone")
    found = convert(store, "feast")
    assert {view.view: view.copied for view in found.views} == {"stats": 1, "gone": 1}
    feast = opened(tmp_path, address, "feast")
    feast.apply([stats(name="gone")])
    assert feast.get_online_features(["gone:trips"], [{"driver_id": 0}]).to_dict()["trips"] == [7]


# --------------------------------------------------------------------------------------------- again and meanwhile


@both_ways
def test_again_to_catch_up(tmp_path: Path, address: str, source: str) -> None:
    to = OTHER[source]
    old, new = filled(tmp_path, address, source), opened(tmp_path, address, to)
    assert only(convert(old, to)).copied == DRIVERS
    assert trips(new) == list(range(DRIVERS))
    # What was written to the old layout meanwhile: a newer row, a corrected one, a new driver.
    write(old, 1, NOON + HOUR, 101)
    write(old, 2, NOON, 102)
    write(old, DRIVERS, NOON, 103)
    again = only(convert(old, to))
    assert (again.copied, again.already, again.older) == (3, DRIVERS - 2, 0)
    expected = [0, 101, 102, *range(3, DRIVERS), 103]
    assert trips(new, DRIVERS + 1) == expected
    # The new layout is the one that is served now: what is written there stays, at a tie too.
    write(new, 1, NOON + 2 * HOUR, 201)
    write(new, 2, NOON, 202)
    last = only(convert(new, to))
    assert (last.copied, last.already, last.older) == (0, DRIVERS, 1)
    assert trips(new, DRIVERS + 1) == [0, 201, 202, *expected[3:]]
    assert trips(old, DRIVERS + 1) == expected, "the old layout is as it was"


@both_ways
def test_while_a_writer_writes_and_a_reader_reads(tmp_path: Path, address: str, source: str) -> None:
    """Whoever writes into the new layout wins by age, whenever the copy comes; a reader sees whole rows only."""
    to = OTHER[source]
    pair = [Field(name="trips", dtype=Int64), Field(name="twice", dtype=Int64)]
    numbers = list(range(2000))
    columns = {
        "driver_id": numbers,
        "known_at": pa.array([NOON] * len(numbers), MICROS),
        "trips": numbers,
        "twice": [2 * number for number in numbers],
    }
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    old = opened(tmp_path, address, source)
    old.apply([DRIVER, stats(*pair)])
    old.materialize(NOON, NOON)
    writer, reader = opened(tmp_path, address, to), opened(tmp_path, address, to)
    stop, troubles, newest = threading.Event(), [], {}

    def write_on() -> None:
        for turn in range(1, 10_000):
            if stop.is_set() and turn > 5:
                return
            drivers = [(turn * 97 + step * 31) % 2000 for step in range(40)]
            values = [turn * 10_000 + driver for driver in drivers]
            frame = pd.DataFrame({
                "driver_id": drivers, "known_at": NOON + turn * HOUR / 60, "trips": values,
                "twice": [2 * value for value in values],
            })  # fmt: skip
            writer.write_to_online_store("stats", frame)
            newest.update(zip(drivers, values, strict=True))

    def read_on() -> None:
        rows = [{"driver_id": number} for number in range(0, 2000, 100)]
        while not stop.is_set():
            answer = reader.get_online_features(["stats:trips", "stats:twice"], rows).to_dict()
            for one, two in zip(answer["trips"], answer["twice"], strict=True):
                if (one is None) != (two is None) or (one is not None and two != 2 * one):
                    troubles.append((one, two))

    threads = [threading.Thread(target=target) for target in (write_on, read_on)]
    for thread in threads:
        thread.start()
    try:
        found = [convert(old, to), convert(old, to)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not troubles
    assert [view.unreadable for result in found for view in result.views] == [0, 0]
    assert newest
    answer = opened(tmp_path, address, to).get_online_features(
        ["stats:trips"], [{"driver_id": number} for number in numbers]
    )
    assert answer.to_dict()["trips"] == [newest.get(number, number) for number in numbers]


# ---------------------------------------------------------------------------------------- damage, and what goes


@both_ways
def test_damage_is_counted_and_named_and_the_rest_goes_on(
    tmp_path: Path, address: str, client: Any, source: str
) -> None:
    store = filled(tmp_path, address, source)
    key = next(key for key in keys_of(client, source) if (3).to_bytes(8, "little") in key)
    for field, cell in client.hgetall(key).items():
        client.hset(key, field, cell[:-1] + b"\xff\xff")
    found = convert(store, OTHER[source])
    copied = only(found)
    assert (copied.copied, copied.unreadable, found.unreadable) == (DRIVERS - 1, 1, 1)
    assert copied.examples[0].startswith("driver_id=3: "), copied.examples
    assert trips(opened(tmp_path, address, OTHER[source])) == [0, 1, 2, None, *range(4, DRIVERS)]
    # And nothing is removed.
    served = opened(tmp_path, address, OTHER[source])
    assert convert(served, OTHER[source], remove_source=True).removed == 0
    assert len(keys_of(client, source)) == DRIVERS


@both_ways
def test_the_old_layout_is_removed_and_no_other_project(tmp_path: Path, address: str, client: Any, source: str) -> None:
    to = OTHER[source]
    old = filled(tmp_path, address, source)
    (tmp_path / "other").mkdir()
    neighbour = feature_store(tmp_path / "other", online=at(address, layout=source), project="xlab")
    lay(tmp_path / "other", (0, NOON, 9))
    neighbour.apply([DRIVER, stats()])
    neighbour.materialize(NOON, NOON)
    with pytest.raises(ConfigError, match=f"layout '{source}' is still the one in feature_store.yaml"):
        convert(old, to, remove_source=True)
    new = opened(tmp_path, address, to)
    found = convert(new, to, remove_source=True)
    assert (found.removed, only(found).copied) == (DRIVERS, DRIVERS)
    assert trips(new) == list(range(DRIVERS))
    assert trips(opened(tmp_path, address, source)) == [None] * DRIVERS
    assert trips(neighbour, 1) == [9]
    again = convert(new, to)
    assert (again.keys, only(again).copied) == (0, 0)


def test_tombstones_are_not_copied(tmp_path: Path, address: str, client: Any) -> None:
    from yummy_feast.online.rows import tombstone

    store = filled(tmp_path, address, "rows")
    client.hset(keys_of(client, "rows")[0], "stats", tombstone(5))
    assert only(convert(store, "feast")).copied == DRIVERS - 1


def test_created_timestamps_end_with_the_layout_that_has_them(tmp_path: Path, address: str, client: Any) -> None:
    """There and back: the row is the same, and older rows still lose."""
    rows = filled(tmp_path, address, "rows")
    convert(rows, "feast")
    client.delete(*keys_of(client, "rows"))
    back = convert(opened(tmp_path, address, "feast"), "rows")
    assert only(back).copied == DRIVERS
    assert trips(rows) == list(range(DRIVERS))
    write(rows, 1, NOON - HOUR, 5)
    assert trips(rows)[1] == 1


def test_keys_of_unknown_entities_are_left_alone(tmp_path: Path, address: str, client: Any) -> None:
    store = filled(tmp_path, address, "rows")
    strange = b"lab\0" + b"\1\0\0\0\2\0\0\0\1\0\0\0x" + b"\4\0\0\0\x08\0\0\0" + bytes(8)
    client.hset(strange, "stats", b"row")
    found = convert(opened(tmp_path, address, "feast"), "feast", remove_source=True)
    assert (found.keys, found.foreign, found.removed) == (DRIVERS + 1, 1, DRIVERS)
    assert keys_of(client, "rows") == [strange]
    assert store is not None


# -------------------------------------------------------------------------------------------------- the command

CONFIGURATION = """
project: lab
provider: yummy_feast.YummyProvider
registry: registry.db
offline_store: {{type: yummy_feast.YummyOfflineStore}}
online_store: {{type: yummy_feast.YummyOnlineStore, layout: {layout}, connection_string: "{address}"}}
entity_key_serialization_version: 3
"""


@pytest.fixture
def repo(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    filled(tmp_path, address, "rows")
    (tmp_path / "feature_store.yaml").write_text(CONFIGURATION.format(address=address, layout="rows"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command(repo: Path, address: str, client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["store", "convert", "--to", "feast"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "stats: 30 rows copied, 0 already there, 0 older, 0 unreadable",
        "30 entity keys of layout rows looked at, 0 removed",
    ]
    assert err == ""
    assert main(["store", "convert", "--to", "feast", "--remove-source"]) == 1
    assert capsys.readouterr().err == (
        "yummy: layout 'rows' is still the one in feature_store.yaml, so its rows are not removed "
        "(set online_store.layout: feast, restart what reads and writes, and run this again)\n"
    )
    (repo / "feature_store.yaml").write_text(CONFIGURATION.format(address=address, layout="feast"))
    key = keys_of(client, "rows")[0]
    client.hset(key, "stats", client.hget(key, "stats")[:-1])
    assert main(["store", "convert", "--to", "feast", "--from", "rows", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["views"][0]["unreadable"] == 1
    assert (found["source"], found["to"], found["keys"], found["foreign"]) == ("rows", "feast", 30, 0)
    assert main(["store", "convert", "--to", "rows", "--from", "rows"]) == 2
    assert "--from and --to are both rows" in capsys.readouterr().err
    assert main(["store", "convert"]) == 2
