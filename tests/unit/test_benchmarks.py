"""The benchmarks: their right answers are right, a wrong answer is seen, and nothing that is wrong gets a figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks import guard, materialize, materialize_data, offline
from benchmarks.measure import Usage
from benchmarks.offline_answer import Verdict, answer, judge, prove
from benchmarks.offline_data import Shape, prepare

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
    assert offline.as_json(SMALL, [wrong], [])["contenders"]["feast-duckdb"]["median"] is None
    read_back = materialize.Outcome("ours", [run], wrong=1)
    assert "1.25" not in str(materialize.lines([read_back], 10))


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


def test_what_must_be_online_is_the_naive_oracles(tmp_path: Path) -> None:
    right = materialize_data.prepare(400, tmp_path / "v.parquet")
    assert right["id"].to_pylist() == list(range(400))
    assert materialize_data.prove(right, tmp_path / "v.parquet", sample=400) == 400


@pytest.mark.slow
def test_runs_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--rows", "3000", "--entities", "800", "--keys", "60", "--repeat", "1", "--data", str(tmp_path), "--json"]
    assert offline.main([*size, "--engines", "ours,ours-1gb,plain-asof,feast-duckdb,feast-dask"]) == 0
    found = json.loads(capsys.readouterr().out)["contenders"]
    for name in ("ours", "ours-1gb", "feast-duckdb"):
        assert found[name]["failure"] is None
        verdict = found[name]["verdict"]
        assert verdict["lost"] == verdict["different"] == 0
    assert found["feast-dask"]["verdict"]["lost"] > 0
    assert materialize.main(["--rows", "500", "--repeat", "1", "--sample", "500", "--json"]) == 0
    online = json.loads(capsys.readouterr().out)["contenders"]
    assert online["ours"]["key_bytes"] < online["feast"]["key_bytes"]


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
