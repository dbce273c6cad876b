"""Runs that workers share: one at a time, told of by any, and lost with the worker that did it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from yummy_feast.serving.features import runs as module
from yummy_feast.serving.features.runs import BusyError, Progress, Runs

END = datetime(2026, 11, 20, tzinfo=UTC)


def progress(runs: Runs, *views: str) -> Progress:
    return Progress(runs, "materialize", list(views), None, END)


def hold(folder: Path, ready: Any) -> None:
    """Another worker, which is killed at it."""
    runs = Runs(folder)
    begun = progress(runs, "a")
    with runs.locked(begun.run.id):
        begun.expect(10)
        ready.send(begun.run.id)
        signal.pause()


def test_one_at_a_time_over_processes_and_lost_with_its_worker(tmp_path: Path) -> None:
    here, there = multiprocessing.Pipe()
    worker = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, there))
    worker.start()
    assert here.poll(30)
    identifier = here.recv()
    runs = Runs(tmp_path)
    with pytest.raises(BusyError) as busy, runs.locked("0" * 16):
        raise AssertionError
    assert busy.value.running == identifier
    found = runs.find(identifier)
    assert found is not None
    assert (found.state, found.rows_expected) == ("running", 10)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    lost = runs.find(identifier)
    assert lost is not None
    assert lost.state == "failed"
    assert lost.error is not None
    assert lost.error["error"] == "MATERIALIZATION_LOST"
    with runs.locked("0" * 16):
        assert True


def test_one_at_a_time_in_a_process_and_free_after_an_error() -> None:
    runs = Runs()
    with runs.locked("1" * 16), pytest.raises(BusyError, match="1" * 16), runs.locked("2" * 16):
        raise AssertionError
    with pytest.raises(ZeroDivisionError), runs.locked("3" * 16):
        raise ZeroDivisionError
    with runs.locked("4" * 16):
        pass
    runs.close()


def test_progress() -> None:
    runs = Runs()
    begun = progress(runs, "a", "b", "c")
    assert begun.run.rows is None
    begun.view("a", "running")
    begun.expect(4)
    begun.add(3)
    begun.view("a", "done")
    begun.view("a", "running")
    begun.view("b", "failed", ValueError("no"))
    begun.view("b", "done")
    found = runs.find(begun.run.id)
    # Nobody holds the lock for it.
    assert found is not None
    assert (found.rows, found.rows_expected) == (3, 4)
    assert {name: view.state for name, view in found.views.items()} == {"a": "done", "b": "failed", "c": "waiting"}
    begun.end({"error": "X", "message": "m", "hint": "h"})
    ended = runs.find(begun.run.id)
    assert ended is not None
    assert (ended.state, ended.error, ended.views["b"].error, ended.views["c"].state) == (
        "failed",
        {"error": "X", "message": "m", "hint": "h"},
        "no",
        "waiting",
    )
    other = progress(runs, "a", "b")
    other.end(None)
    assert {view.state for view in other.run.views.values()} == {"done"}
    assert [run.id for run in runs.latest()] == [other.run.id, begun.run.id]
    runs.close()


def test_only_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 2)
    runs = Runs()
    made = [progress(runs, "a") for _ in range(4)]
    for each in made:
        each.end(None)
        each.run.started = f"2026-11-20T00:00:0{made.index(each)}"
        runs.note(each.run)
    runs.make_room()
    assert [run.id for run in runs.latest()] == [made[3].run.id, made[2].run.id]
    runs.close()


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "0" * 15, "0" * 17, "0" * 16])
def test_names_that_are_no_run(name: str) -> None:
    runs = Runs()
    assert runs.find(name) is None
    runs.close()


def test_what_was_made_is_removed() -> None:
    runs = Runs()
    progress(runs, "a").end(None)
    folder = runs._folder
    assert folder.exists()
    runs.close()
    assert not folder.exists()
