"""Servers killed while rows go online: what they acknowledged is there, and half a run does not count as one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import feast.feature_store
import pytest
import redis
from feast import FeatureStore
from feast.feature_view import FeatureViewState
from tqdm import tqdm

from tests.feast.faults import EMBEDDED, MANY, applied, failure, materialize, parquet, rows, trips, windows
from tests.feast.repo import feature_store
from tests.unit.online.servers import free_port, kill, put_down, valkey
from yummy_feast.errors import ServerUnavailableError


@pytest.fixture
def embedded_store(tmp_path: Path) -> Iterator[FeatureStore]:
    yield feature_store(tmp_path, online=EMBEDDED)
    put_down(tmp_path)


def test_a_server_killed_between_two_writes_lost_nothing(embedded_store: FeatureStore, tmp_path: Path) -> None:
    store = applied(embedded_store, parquet(tmp_path))
    for number in range(3):
        store.write_to_online_store("stats", rows().slice(number, 1).to_pandas())
        kill(tmp_path)
        # A new server has what the old one acknowledged; nobody has to start it.
        assert trips(store) == [0, 1, 2, None][: number + 1] + [None] * (3 - number)
    kill(tmp_path)
    materialize(store)
    assert trips(store) == [0, 1, 2, 3]


class Counting(tqdm):  # type: ignore[type-arg]
    """A bar that counts what was acknowledged, and does something once a third of it was."""

    acknowledged = 0
    at_a_third: Callable[[], None] | None = None

    def update(self, n: float | None = 1) -> bool | None:
        kind = type(self)
        kind.acknowledged += int(n or 0)
        if kind.acknowledged > MANY / 3 and kind.at_a_third:
            act, kind.at_a_third = kind.at_a_third, None
            act()
        return super().update(n)


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    bar = type("Bar", (Counting,), {})
    monkeypatch.setattr(feast.feature_store, "tqdm", bar)
    return bar


def test_a_server_killed_during_a_materialization(
    embedded_store: FeatureStore, tmp_path: Path, bar: type[Counting]
) -> None:
    """It comes back by itself, with every row it acknowledged, and the run goes on."""
    store = applied(embedded_store, parquet(tmp_path, rows(MANY)))
    survived: list[int] = []

    def strike() -> None:
        kill(tmp_path)
        survived.append(MANY - trips(store, MANY).count(None))
        assert survived[0] >= bar.acknowledged

    bar.at_a_third = strike
    materialize(store)
    assert survived
    assert trips(store, MANY) == list(range(MANY))
    assert len(windows(store)) == 1


def test_a_server_that_dies_for_good_during_a_materialization(tmp_path: Path, bar: type[Counting]) -> None:
    port = free_port()
    online = {"type": "yummy_feast.YummyOnlineStore", "connection_string": f"localhost:{port}", "retries": 0}
    store = applied(feature_store(tmp_path, online=online), parquet(tmp_path, rows(MANY)))
    # Its own memory is its only one: a server that forgets everything.
    with valkey(tmp_path, "--save", "", port=port):
        bar.at_a_third = lambda: os.kill(_pid_of(port), signal.SIGKILL)
        failure(ServerUnavailableError, store, f"redis at localhost:{port}", "online_store.connection_string")
    assert store.get_feature_view("stats").state == FeatureViewState.STATE_UNSPECIFIED
    assert 0 < bar.acknowledged < MANY
    with valkey(tmp_path, "--save", "", port=port):
        materialize(store)
        assert trips(store, MANY) == list(range(MANY))
    assert len(windows(store)) == 1


def _pid_of(port: int) -> int:
    with redis.Redis(port=port) as client:
        return int(client.info("server")["process_id"])
