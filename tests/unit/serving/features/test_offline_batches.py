"""Offline rows of several pushes are appended together, and none is lost at the end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from tests.places import wait_until
from yummy_feast.errors import ConfigError
from yummy_feast.serving.features.offline_batches import OfflineBatches, offline_batches
from yummy_feast.serving.features.writing import PreparedOffline


class Appended:
    """Stands for what writes: keeps the rows of each append."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, list[int]]] = []

    def append(self, prepared: PreparedOffline) -> None:
        self.rows.append((prepared.view.name, list(prepared.frame["x"])))


def rows(name: str, *values: int) -> PreparedOffline:
    view = SimpleNamespace(name=f"{name}_view", batch_source=SimpleNamespace(name=name))
    return PreparedOffline(view, pd.DataFrame({"x": values}))


def batches_of(writing: Any, size: int, seconds: int) -> OfflineBatches:
    return OfflineBatches(writing, size, seconds)


def test_a_full_batch_is_appended_at_once() -> None:
    writing = Appended()
    batches = batches_of(writing, 3, 3600)
    batches.add(rows("a", 1, 2))
    assert writing.rows == []
    batches.add(rows("a", 3))
    wait_until(lambda: bool(writing.rows), 10, "an append")
    assert writing.rows == [("a_view", [1, 2, 3])]
    batches.stop()


def test_the_end_appends_what_is_left_by_source() -> None:
    writing = Appended()
    batches = batches_of(writing, 100, 3600)
    batches.add(rows("a", 1))
    batches.add(rows("b", 2))
    batches.add(rows("a", 3))
    batches.stop()
    assert sorted(writing.rows) == [("a_view", [1, 3]), ("b_view", [2])]


def block(**keys: Any) -> Any:
    server = {
        "offline_push_batching_enabled": True,
        "offline_push_batching_batch_size": 10,
        "offline_push_batching_batch_interval_seconds": 1,
        **keys,
    }
    return SimpleNamespace(feature_server=SimpleNamespace(**server))


def test_what_the_block_asks_for() -> None:
    writing: Any = Appended()
    assert isinstance(offline_batches(block(), writing), OfflineBatches)
    assert offline_batches(block(offline_push_batching_enabled=False), writing) is None
    nothing: Any = SimpleNamespace(feature_server=None)
    assert offline_batches(nothing, writing) is None


@pytest.mark.parametrize("name", ["batch_size", "batch_interval_seconds"])
@pytest.mark.parametrize("value", [None, 0, -1])
def test_a_batch_without_an_end_is_refused(name: str, value: int | None) -> None:
    writing: Any = Appended()
    with pytest.raises(ConfigError, match=f"offline_push_batching_{name} is {value}"):
        offline_batches(block(**{f"offline_push_batching_{name}": value}), writing)
