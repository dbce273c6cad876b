"""Parts of the newest rows on a real server, written by whoever has them: as one copy from here would."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, Field
from feast.types import Array, Float32, Float64, Int64, String
from feast.value_type import ValueType

from tests.feast.repo import at, feature_store
from tests.online_server import address, client, server
from tests.unit.materialization.local_parts import Cluster, LostError
from tests.unit.materialization.memory_stores import Bar
from yummy_feast import ParquetSource
from yummy_feast.errors import ServerUnavailableError, ValueTypeError, YummyError
from yummy_feast.materialization import columns, parts
from yummy_feast.materialization.columns import ViewColumns
from yummy_feast.materialization.copying import Outcome, Stores, Task, copy
from yummy_feast.materialization.parts import TOLD, PartWriter
from yummy_feast.offline.store import YummyOfflineStore
from yummy_feast.online import destination
from yummy_feast.online.keys import progress_key
from yummy_feast.online.store import YummyOnlineStore
from yummy_feast.online.writer import Written

__all__ = ["address", "client", "server"]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
REGION = Entity(name="region", join_keys=["region"], value_type=ValueType.STRING)
KEYS = 200


def rows(keys: int = KEYS) -> pa.Table:
    """Two rows per driver, the newer one first."""
    made = np.random.default_rng(7)
    count = 2 * keys
    return pa.table(
        {
            "driver_id": pa.array([number % keys for number in range(count)], pa.int64()),
            "region": [f"r{number % 17}" for number in range(count)],
            "at": pa.array([NOON - timedelta(minutes=number) for number in range(count)], pa.timestamp("us", "UTC")),
            "score": made.normal(size=count),
            # Of one width, whatever part they are in.
            "big": pa.array([2**40 + number for number in range(count)], pa.int64()),
            "name": [None if number % 5 == 0 else f"n{number}" for number in range(count)],
            "seen": [[float(number), 0.5] for number in range(count)],
        }
    )


def views() -> list[FeatureView]:
    source = ParquetSource("rows.parquet", name="rows", timestamp_field="at")
    fields = [("score", Float64), ("big", Int64), ("name", String)]
    wide = [Field(name=name, dtype=kind) for name, kind in fields]
    more = [Field(name="seen", dtype=Array(Float32)), Field(name="score", dtype=Float64)]
    make: dict[str, Any] = {"source": source, "ttl": timedelta(0)}
    return [
        FeatureView(name="a", entities=[DRIVER], schema=wide, **make),
        FeatureView(name="b", entities=[DRIVER], schema=more, **make),
        FeatureView(name="regional", entities=[REGION], schema=wide[:2], **make),
        FeatureView(name="everywhere", entities=[], schema=wide[:1], **make),
    ]


class Lab:
    """A repository in a folder, and how its rows come online."""

    def __init__(self, folder: Path, address: str, **online: Any) -> None:
        self.folder = folder
        self.store: FeatureStore = feature_store(folder, online=at(address, **online))
        self.write(rows())
        self.store.apply([DRIVER, REGION, *views()])
        self.bars: list[Bar] = []
        self.cluster = Cluster()

    def write(self, table: pa.Table) -> None:
        pq.write_table(table, self.folder / "rows.parquet")

    def stores(self, offline: Any) -> Stores:
        return Stores(self.store.config, offline, YummyOnlineStore(), self._bar)

    def _bar(self, total: Any) -> Any:
        self.bars.append(Bar(total))
        self.bars[-1].total = total
        return self.bars[-1]

    def run(self, *names: str, offline: Any = None, end: datetime = NOON) -> list[Outcome]:
        tasks = [Task(self.store.get_feature_view(name), NOON - DAY, end) for name in names or ("a",)]
        return copy(self.stores(offline or self.cluster), tasks, lambda *_: None)

    def writer(self, *names: str) -> PartWriter:
        """Of a run that is noted as such."""
        online, config = YummyOnlineStore(), self.store.config
        read = [ViewColumns.of(self.store.get_feature_view(name)) for name in names]
        place = online.destination(config, [(one.view, one.time, one.created) for one in read])
        return PartWriter(tuple(read), place, "run", None)


@pytest.fixture
def lab(tmp_path: Path, address: str) -> Lab:
    return Lab(tmp_path, address)


def contents(client: Any) -> dict[bytes, dict[bytes, bytes]]:
    """All of the server but the progress, whose runs have names of their own."""
    return {key: client.hgetall(key) for key in client.scan_iter() if key != progress_key("lab")}


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_LOOK_EVERY", 0.001)


def written(outcomes: list[Outcome]) -> list[Written]:
    assert [outcome.error for outcome in outcomes] == [None] * len(outcomes)
    return [outcome.written for outcome in outcomes]


# ------------------------------------------------------------------------------------------- the same as from here


@pytest.mark.parametrize("layout", ["rows", "feast"])
def test_redis_holds_the_same_bytes_as_after_a_copy_from_here(
    tmp_path: Path, address: str, client: Any, layout: str
) -> None:
    lab = Lab(tmp_path, address, layout=layout)
    names = ("a", "b", "regional", "everywhere")
    written(lab.run(*names, offline=YummyOfflineStore()))
    expected = contents(client)
    client.flushdb()
    assert written(lab.run(*names)) == [Written(written=KEYS)] * 2 + [Written(written=17), Written(written=1)]
    assert contents(client) == expected
    # One look at the source for all of them: a read for each set of join keys.
    assert [read.join_keys for read in lab.cluster.reads] == [("driver_id",), ("region",), ()]


def test_what_is_known_of_the_rows_is_shown(lab: Lab) -> None:
    lab.run("a", "b")
    [bar] = lab.bars
    assert (bar.rows, bar.unit, bar.title) == (2 * KEYS, "row", "a, b")


def test_a_bar_grows_with_the_notes_of_the_writers() -> None:
    shown = Bar(0)
    bar = parts._Bar(shown, [2, 1], [4, 2])
    bar.skip(0, {3})
    bar.show([{3: 100, 0: 10}, {}])
    assert (shown.rows, shown.total) == (20, 60)
    bar.show([{3: 100, 0: 10, 1: 40}, {1: 5}])
    assert (shown.rows, shown.total) == (105, 160)
    bar.settle(200)
    bar.close()
    assert shown.rows == 200


def test_newer_rows_of_others_stay(lab: Lab, client: Any) -> None:
    later = rows().slice(0, 3).set_column(2, "at", pa.array([NOON + DAY] * 3, pa.timestamp("us", "UTC")))
    lab.write(later)
    written(lab.run("a", offline=YummyOfflineStore(), end=NOON + 2 * DAY))
    lab.write(rows())
    assert written(lab.run("a")) == [Written(written=KEYS - 3, older=3)]


# -------------------------------------------------------------------------------------------- tried again, twice


@pytest.mark.parametrize("layout", ["rows", "feast"])
@pytest.mark.parametrize("together", [False, True])
def test_a_part_that_is_written_twice_harms_nothing(
    tmp_path: Path, address: str, client: Any, layout: str, together: bool
) -> None:
    lab = Lab(tmp_path, address, layout=layout)
    written(lab.run("a", "b"))
    expected = contents(client)
    client.flushdb()
    lab.cluster = Cluster(attempts=2, together=together)
    lab.run("a", "b")
    assert contents(client) == expected


def test_a_machine_that_is_lost_half_way_is_made_up_for(lab: Lab, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written(lab.run("a"))
    expected = contents(client)
    client.flushdb()
    # Rows are sent as they come, ten at a time.
    monkeypatch.setattr(columns, "_FIRST_ROWS", 1)
    monkeypatch.setattr(columns, "_ROWS", 1)
    lab.cluster = Cluster(cut=45)
    [found] = written(lab.run("a"))
    # Counted is the attempt that came to its end; what the lost one wrote was there already.
    assert found.rows == KEYS
    assert found.equal >= 4 * 10
    assert contents(client) == expected


def test_a_part_is_noted_once_and_only_when_it_is_online(lab: Lab) -> None:
    writer = lab.writer("a", "b")
    book = writer.destination.progress()
    book.begin_parts("run", {b"a": {7: 1}, b"b": {}})

    def breaking() -> Iterator[pa.RecordBatch]:
        yield from rows(20).to_batches()
        raise LostError

    with pytest.raises(LostError):
        writer(3, breaking())
    assert book.parts("run", [b"a", b"b"]) == [{7: 1}, {}]
    for _ in range(2):
        told = writer(3, iter(rows(20).to_batches()))
        assert told.schema == TOLD
        assert told.column("view").to_pylist() == [0, 1]
    assert book.parts("run", [b"a", b"b"]) == [{7: 1, 3: 40}, {3: 40}]


def test_a_part_without_rows_is_online_too(lab: Lab) -> None:
    writer = lab.writer("a")
    book = writer.destination.progress()
    book.begin_parts("run", {b"a": {}})
    assert writer(0, iter([])).to_pylist() == [{"view": 0, "written": 0, "equal": 0, "older": 0, "keyless": 0}]
    assert book.parts("run", [b"a"]) == [{0: 0}]


# --------------------------------------------------------------------------------------------------- cut off


def test_a_copy_that_was_cut_off_goes_on_with_the_parts_that_are_left(lab: Lab, client: Any) -> None:
    lab.cluster.ends_after = 3
    with pytest.raises(LostError):
        lab.run("a", "b")
    lab.cluster = Cluster()
    again = written(lab.run("a", "b"))
    assert lab.cluster.worked == [3]
    assert again[0] == again[1]
    assert 0 < again[0].written < KEYS / 2
    assert again[0].equal == 0
    # And the next one has nothing to go on from.
    assert written(lab.run("a")) == [Written(equal=KEYS)]
    whole = contents(client)
    client.flushdb()
    lab.run("a", "b", offline=YummyOfflineStore())
    assert contents(client) == whole


def test_views_of_other_join_keys_go_on_each_from_its_parts(lab: Lab) -> None:
    lab.cluster.ends_after = 2
    with pytest.raises(LostError):
        lab.run("a")
    lab.cluster = Cluster()
    outcomes = written(lab.run("a", "b", "regional"))
    assert [outcome.rows for outcome in outcomes][1:] == [KEYS, 17]
    assert outcomes[0].rows < KEYS
    assert lab.cluster.worked == [2, 3, *range(4), *range(4)]


@pytest.mark.parametrize("change", ["source", "division", "engine"])
def test_what_was_divided_otherwise_is_copied_whole(lab: Lab, change: str) -> None:
    lab.cluster.ends_after = 3
    with pytest.raises(LostError):
        lab.run("a")
    offline: Any = Cluster(division="other") if change == "division" else Cluster()
    if change == "source":
        lab.write(rows(KEYS + 1))
    assert written(lab.run("a", offline=YummyOfflineStore() if change == "engine" else offline))[0].rows >= KEYS


def test_a_copy_from_here_that_was_cut_off_is_no_part_of_a_divided_one(lab: Lab, client: Any) -> None:
    """Its count of rows says nothing of parts, and the other way round."""
    book = YummyOnlineStore().progress(lab.store.config)
    lab.cluster.ends_after = 0
    with pytest.raises(LostError):
        lab.run("a")
    made, counted = book.last(b"a")
    assert made is not None
    assert (made.division, counted, made.done) == ("crc 4", 0, False)
    book.begin([(b"a", replace_of(made), 150)])
    assert written(lab.run("a", offline=Cluster())) == [Written(written=KEYS)]


def replace_of(made: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(made, division="")


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_a_value_that_does_not_fit_fails_its_view_alone(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.store.apply([FeatureView(name="b", entities=[DRIVER], schema=[Field(name="name", dtype=Int64)],
                                 source=views()[0].batch_source, ttl=timedelta(0))])  # fmt: skip
    with caplog.at_level(logging.ERROR):
        good, bad = lab.run("a", "b")
    assert good.error is None
    assert good.written.rows == KEYS
    assert isinstance(bad.error, YummyError)
    assert str(bad.error).startswith("feature view 'b': column 'name' of rows.parquet holds string")


def test_a_vector_of_another_length_is_refused_as_from_here(lab: Lab) -> None:
    field = Field(name="seen", dtype=Array(Float32), vector_index=True, vector_length=3, vector_search_metric="cosine")
    source = views()[0].batch_source
    lab.store.apply([FeatureView(name="b", entities=[DRIVER], schema=[field], source=source, ttl=timedelta(0))])
    [outcome] = lab.run("b")
    assert isinstance(outcome.error, ValueTypeError)


def test_a_server_behind_a_socket_is_refused_on_another_machine(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = lab.writer("a")
    elsewhere = replace(writer, destination=replace(writer.destination, machine="another"))
    with pytest.raises(ServerUnavailableError, match=r"cannot be reached from .*, another machine \(set online_store"):
        elsewhere(0, iter([]))
    # And where only the machine is the same: a container of its own.
    place = replace(writer.destination.settings, unix_socket=None, repo_path=lab.folder / "gone")
    with pytest.raises(ServerUnavailableError, match=r"embedded server of .* cannot be reached"):
        replace(writer, destination=replace(writer.destination, settings=place))(0, iter([]))
    # A host and a port are wherever they are.
    reached = YummyOnlineStore()
    config = feature_store(lab.folder, online=at("localhost:1")).config
    replace(reached.destination(config, []), machine="another").check_within_reach()


def test_a_machine_has_a_name_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    destination.this_machine.cache_clear()
    first = destination.this_machine()
    monkeypatch.setattr(destination, "_BOOT", tmp_path / "none")
    destination.this_machine.cache_clear()
    assert destination.this_machine()
    destination.this_machine.cache_clear()
    monkeypatch.undo()
    assert destination.this_machine() == first


def test_a_writer_travels_with_its_password_and_does_not_show_it(lab: Lab) -> None:
    writer = lab.writer("a", "regional", "everywhere")
    settings = replace(writer.destination.settings, password="open sesame")
    secret = replace(writer, destination=replace(writer.destination, settings=settings))
    sent = pickle.dumps(secret)
    assert "sesame" not in repr(secret)
    there = pickle.loads(sent).destination
    assert (there.settings, there.views) == (settings, secret.destination.views)
    # It is not the rows that travel with it.
    assert len(sent) < 20_000
