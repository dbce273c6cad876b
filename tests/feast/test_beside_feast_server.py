"""`feast serve` and our feature server, asked the same over HTTP, on rows that stock Feast wrote to one Redis.

Every answer of the one has its like in the other, field by field and by name; what differs is in
``served.differences`` and ``served.odd``, which docs/differences.md tells. Our layout `rows` answers as Feast's does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.feast.served.compare import EPOCH, compare, same
from tests.feast.served.differences import DIFFERENCES
from tests.feast.served.odd import EQUAL, MIXED, ODD, STATUSES, TIME_AS_FLOAT, Answer, Odd
from tests.feast.served.repositories import Sides, both
from tests.feast.served.requests import Body, of_side, of_versions
from tests.feast.served.servers import Reply

REMAINING = {name for name, difference in DIFFERENCES.items() if difference.remains}
BY_HAND = {"mixed", "float time", "pandas beside"}
"""Differences that tests of their own show, not the requests drawn at random."""


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sides]]:
    with both(tmp_path_factory.mktemp("served")) as (side, versions):
        yield {"side": side, "versions": versions}


@pytest.fixture(scope="module")
def side(repositories: dict[str, Sides]) -> Sides:
    return repositories["side"]


def differing(sides: Sides, bodies: Iterable[Body]) -> tuple[set[str], set[str]]:
    """The differences that were met, in our answers and in those under compat."""
    met: set[str] = set()
    under_compat: set[str] = set()
    for body in bodies:
        stock = sides.stock.post(body)
        replies = {layout: client.post(body) for layout, client in sides.ours.items()}
        compat = {layout: client.post(body) for layout, client in sides.compat.items()}
        try:
            met |= compare(body, stock, replies["feast"])
            under_compat |= compare(body, stock, compat["feast"])
            assert replies["rows"].json == replies["feast"].json
            assert compat["rows"].body == compat["feast"].body
            if compat["feast"].status == replies["feast"].status == 200:
                assert_told_as_stock(compat["feast"], replies["feast"])
        except AssertionError as error:
            error.add_note(f"asked: {json.dumps(body)}")
            raise
    return met, under_compat


def assert_told_as_stock(compat: Reply, ours: Reply) -> None:
    """Our own answer, in which everything is present."""
    assert same(compat.json["metadata"], ours.json["metadata"])
    for name, column in compat.columns.items():
        assert set(column["statuses"]) == {"PRESENT"}
        assert column["event_timestamps"] == ours.columns[name]["event_timestamps"]


def test_generated_requests(repositories: dict[str, Sides]) -> None:
    met, under_compat = differing(repositories["side"], of_side(20261125, 400))
    assert met == DIFFERENCES.keys() - BY_HAND
    assert under_compat == REMAINING - BY_HAND
    met, under_compat = differing(repositories["versions"], of_versions(20261125, 80))
    assert met == {"not found", "order"}
    assert under_compat == {"order"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_thousands_of_generated_requests(repositories: dict[str, Sides], seed: int) -> None:
    met, under_compat = differing(repositories["side"], of_side(seed, 1000))
    assert met <= DIFFERENCES.keys()
    assert under_compat <= REMAINING
    met, under_compat = differing(repositories["versions"], of_versions(seed, 300))
    assert met <= {"not found", "order"}
    assert under_compat <= {"order"}


def test_orders_of_our_own(side: Sides) -> None:
    """Join keys as the request has them, then features as asked for or as the service lists them."""
    body = {
        "features": ["stats:trips", "pairs:score", "stats:conv"],
        "entities": {"customer_id": ["a"], "driver_id": [0]},
    }
    service = {"feature_service": "renamed", "entities": {"customer_id": ["a"]}}
    for client in (*side.ours.values(), *side.compat.values()):
        assert list(client.post(body).columns) == ["customer_id", "driver_id", "trips", "score", "conv"]
        assert list(client.post(service).columns) == ["customer_id", "city", "spent"]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.what)
def test_odd_requests(repositories: dict[str, Sides], odd: Odd) -> None:
    sides = repositories[odd.project]
    for body in odd.bodies:
        assert sides.stock.post(body).status == odd.stock, body
        for client, expected in ((sides.feast, odd.ours), (sides.rows, odd.ours), (sides.feast_compat, odd.compat)):
            assert_answered(client.post(body), expected, body)
        if odd.compat == odd.stock == 200:
            asked = {**body, "features": []} if body.get("feature_service") else body
            compare(asked, sides.stock.post(body), sides.feast_compat.post(body))


def assert_answered(reply: Reply, expected: Answer, body: Any) -> None:
    if isinstance(expected, int):
        assert reply.status == expected, (body, reply.body)
        return
    assert (reply.status, reply.code) == (STATUSES[expected], expected), (body, reply.body)
    assert reply.json.keys() == {"detail"}
    assert reply.json["detail"].keys() == {"error", "message", "hint"}
    assert reply.json["detail"]["message"]


@pytest.mark.parametrize("body", EQUAL, ids=lambda body: str(body)[:60])
def test_odd_requests_that_both_take(side: Sides, body: Any) -> None:
    stock = side.stock.post(body)
    asked = body if isinstance(body, dict) else json.loads(body)
    assert compare(asked, stock, side.feast_compat.post(body)) == set()
    assert compare(asked, stock, side.feast.post(body)) <= {"not found"}
    assert side.rows.post(body).json == side.feast.post(body).json


def test_null_join_keys_find_nothing(side: Sides) -> None:
    body = {"features": ["stats:trips"], "entities": {"driver_id": [1, None]}}
    for client in side.ours.values():
        columns = client.post(body).columns
        assert columns["driver_id"]["values"] == [1, None]
        assert columns["trips"]["values"] == [10, None]
        assert columns["trips"]["statuses"] == ["PRESENT", "NOT_FOUND"]
        assert columns["trips"]["event_timestamps"][1] == EPOCH
    assert side.feast_compat.post(body).columns["trips"]["statuses"] == ["PRESENT"] * 2


def test_request_data_is_not_cast_to_its_first_value(side: Sides) -> None:
    stock, compat = side.stock.post(MIXED), side.feast_compat.post(MIXED)
    assert stock.columns["conv_plus"]["values"] == [1.5, 2.25]
    assert compare(MIXED, stock, compat) == set()
    assert side.feast.post(MIXED).columns["conv_plus"]["values"] == [1.5, 2.75]


def test_timestamps_as_floats_are_not_another_moment(side: Sides) -> None:
    assert side.stock.post(TIME_AS_FLOAT).columns["hour_start"]["values"] == [-(2**63)]
    for client in (side.feast, side.feast_compat):
        assert client.post(TIME_AS_FLOAT).columns["load"]["values"] == [7200 / 7]


def test_a_pandas_view_does_not_meet_what_is_asked_for_beside_it(side: Sides) -> None:
    features = ["times:loud", "everything:json", "everything:scalar_map"]
    body = {"features": features, "entities": {"driver_id": [0, 1, 2], "bonus": [1.0, 2.0, 3.0]}}
    stock = side.stock.post(body)
    assert stock.status == 500
    assert compare(body, stock, side.feast_compat.post(body)) == {"pandas beside"}
    assert side.feast.post(body).columns["loud"]["values"] == ["D0", None, "D2"]


def test_the_header_chooses_and_must_be_right(side: Sides) -> None:
    body = {"features": ["stats:trips"], "entities": {"driver_id": [77]}}

    def status(value: str) -> Any:
        return side.feast.post(body, headers={"X-Yummy-Compat": value}).columns["trips"]["statuses"]

    assert status("feast") == ["PRESENT"]
    assert status("none") == ["NOT_FOUND"]
    refused = side.feast.post(body, headers={"x-yummy-compat": "stock"})
    assert (refused.status, refused.code) == (422, "INVALID_HEADER")
    assert "'stock'" in refused.json["detail"]["message"]
