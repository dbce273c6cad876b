"""Runs: one at a time over processes, and what is told of each."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from yummy_feast.serving.features.runs import BusyError, Progress, Runs

END = datetime(2026, 11, 20, tzinfo=UTC)
HOLD = """
import sys
from pathlib import Path
from yummy_feast.serving.features.runs import Runs
with Runs(Path(sys.argv[1])).locked(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def progress_of(runs: Runs) -> Progress:
    return Progress(runs, "materialize", ["a", "b"], None, END)


def test_progress(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    progress = progress_of(runs)
    with runs.locked(progress.run.id):
        progress.view("a", "running")
        progress.expect(10)
        progress.add(4)
        progress.view("a", "done")
        found = Runs(tmp_path).find(progress.run.id)
        assert found is not None
        assert (found.state, found.rows, found.rows_expected) == ("running", 4, 10)
        assert {name: view.state for name, view in found.views.items()} == {"a": "done", "b": "waiting"}
        progress.end(None)
    found = runs.find(progress.run.id)
    assert found is not None
    assert (found.state, found.error) == ("done", None)
    assert {view.state for view in found.views.values()} == {"done"}


def test_what_has_failed_stays_so(tmp_path: Path) -> None:
    progress = progress_of(Runs(tmp_path))
    progress.view("a", "failed", ValueError("no"))
    progress.view("a", "running")
    progress.view("b", "running")
    progress.end({"error": "X", "message": "no", "hint": ""})
    views = progress.run.views
    assert (views["a"].state, views["a"].error, views["b"].state) == ("failed", "no", "failed")


def test_one_at_a_time_over_processes_until_the_holder_dies(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    run = progress_of(runs).run
    runs.note(run)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), run.id], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(BusyError) as busy, runs.locked("0" * 16):
            pass
        assert busy.value.running == run.id
        found = runs.find(run.id)
        assert found is not None
        assert found.state == "running"
        other.kill()
    found = runs.find(run.id)
    assert found is not None
    assert (found.state, (found.error or {})["error"]) == ("failed", "MATERIALIZATION_LOST")
    with runs.locked("0" * 16):
        pass


def test_newest_first_and_a_hundred_are_kept(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    for number in range(103):
        run = progress_of(runs).run
        run.state, run.started = "done", f"2026-01-01T00:00:00.{number:03}"
        runs.note(run)
    runs.make_room()
    started = [run.started[-3:] for run in runs.latest()]
    assert started == [f"{number:03}" for number in range(102, 2, -1)]


@pytest.mark.parametrize("run", ["", "../x", "0123456789abcdef", "0123456789ABCDEF"])
def test_no_such_run(tmp_path: Path, run: str) -> None:
    assert Runs(tmp_path).find(run) is None


def test_the_folder_of_one_process_goes_with_it() -> None:
    runs = Runs()
    runs.note(progress_of(runs).run)
    folder = runs._folder
    assert folder.exists()
    runs.close()
    assert not folder.exists()
