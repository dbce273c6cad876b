"""Growing sizes, and Spark's contenders: what grew is told step by step, and only of right answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import offline
from benchmarks.measure import Usage, peak_memory
from benchmarks.offline_answer import Verdict
from benchmarks.offline_data import Shape
from benchmarks.offline_growth import growth, judged, sizes

SIZES = sizes([1000], [10, 100, 1000], Shape())


def test_sizes_grow_together_or_alone() -> None:
    assert [(shape.rows, shape.entities) for shape in SIZES] == [(1000, 10), (1000, 100), (1000, 1000)]
    assert [(shape.rows, shape.entities) for shape in sizes([5, 50], [1, 10], Shape())] == [(5, 1), (50, 10)]
    assert sizes([2_000_000], [500_000], Shape()) == [Shape()]


def test_sizes_that_do_not_pair_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        offline.parse(["--rows", "1,2", "--entities", "1,2,3"])
    assert "--rows has 2 sizes and --entities 3: give as many, or one" in capsys.readouterr().err


def test_growth_is_told_from_size_to_size() -> None:
    seconds = [{"spark": 2.0, "feast-spark": 1.0}, {"spark": 3.0}, {"spark": 30.0, "feast-spark": 500.0}]
    lines = growth({"spark": "ours", "feast-spark": "Feast's"}, SIZES, seconds).splitlines()
    assert [line.split() for line in lines[3:]] == [
        ["ours", "2.00", "s", "3.00", "s", "(x", "1.5)", "30.00", "s", "(x", "10.0)"],
        # No answer at the second size: no ratio either.
        ["Feast's", "1.00", "s", "-", "500.00", "s"],
    ]


def test_more_than_linear_growth_is_a_promise_missed() -> None:
    assert judged("spark", SIZES, [{"spark": 1.0}, {"spark": 12.0}, {"spark": 150.0}]) == [
        (True, "spark: 10 times the rows took 12.00 times as long (at most 12)"),
        (False, "spark: 10 times the rows took 12.50 times as long (at most 12)"),
    ]
    assert judged("spark", SIZES, [{"spark": 1.0}, {}, {"spark": 150.0}]) == []


def test_sparks_promise_is_beside_feasts_spark_store() -> None:
    def outcome(name: str, seconds: float) -> offline.Outcome:
        return offline.Outcome(name, [Usage(seconds, 0, 1)], [Verdict(0, 0, 0, ordered=True)])

    measured = [outcome("spark", 10), outcome("feast-spark", 29)]
    assert offline.floors(measured) == [
        (False, "MISSED: engine: spark 2.90 times faster than Feast's Spark store (at least 3)")
    ]
    # Without the embedded engine the Spark engine is what others are compared with.
    assert [line[2] for line in offline.lines(measured)] == ["1.00", "2.90"]


@pytest.mark.skipif(not Path("/proc").exists(), reason="the system does not tell peaks of others")
def test_memory_of_processes_that_still_run_is_counted() -> None:
    before = peak_memory()
    # 80 MB of another process, which ends when its input does.
    code = "import sys; held = bytearray(80_000_000); print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert peak_memory() - before > 80_000_000
        child.communicate()


@pytest.mark.slow
def test_spark_beside_feasts_spark_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--rows", "3000", "--entities", "800", "--keys", "60", "--views", "2", "--features", "2"]
    asked = ["--engines", "ours,spark,feast-spark", "--repeat", "1", "--data", str(tmp_path), "--json"]
    assert offline.main([*size, *asked]) == 0
    found = json.loads(capsys.readouterr().out)
    (measured,) = found["sizes"]
    for name in ("ours", "spark"):
        verdict = measured["contenders"][name]["verdict"]
        assert verdict == {"lost": 0, "extra": 0, "different": 0, "ordered": True}
    assert measured["contenders"]["feast-spark"]["failure"] is None
    # The JVM's memory is in it.
    assert measured["contenders"]["spark"]["median"]["peak"] > 2 * measured["contenders"]["ours"]["median"]["peak"]
