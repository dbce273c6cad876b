"""What an online store of ours does, in every layout, on one server and in a cluster, called and awaited."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from feast import FeatureStore
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float32, Float64, Int32, Int64, String

from tests.contract.online_kit import ABSENT, MICRO, NO_KEY, NOW, SECOND, OnlineKit, driver, entity, key, view
from tests.unit.online.samples import PYTHON, messages
from yummy_feast.errors import OnlineRequestError, RowDecodeError
from yummy_feast.online.writer import Written

stats = view("stats", {"trips": Int64, "label": String})
more = view("more", {"rating": Float32})


def trips(number: int | None, label: str | None = None) -> dict[str, Value]:
    return {
        "trips": Value() if number is None else Value(int64_val=number),
        "label": Value() if label is None else Value(string_val=label),
    }


def put(
    online: OnlineKit,
    number: int | None,
    event: datetime = NOW,
    created: datetime | None = None,
    config: Any = None,
    **online_store: Any,
) -> None:
    """One row of driver 1."""
    online.write(config or online.config(**online_store), stats, (driver(1), trips(number), event, created))


def held(online: OnlineKit, config: Any = None) -> tuple[datetime | None, int | None]:
    """The event timestamp and value of driver 1."""
    [(moment, values)] = online.read(config or online.config(), stats, driver(1), features=["trips"])
    if values is None:
        return moment, None
    return moment, values["trips"].int64_val if values["trips"].WhichOneof("val") else None


# ---------------------------------------------------------------------------------------------- written and read


def test_what_is_written_is_read(online: OnlineKit) -> None:
    config = online.config()
    online.write(
        config,
        stats,
        (driver(1), trips(5, "five"), NOW, None),
        (driver(2), trips(5), NOW - SECOND, NOW),
        # A feature that is left out is null.
        (driver(3), {"trips": Value(int64_val=7)}, NOW.replace(tzinfo=None), None),
    )
    assert online.read(config, stats, *(driver(number) for number in (2, 9, 1, 3, 1))) == [
        (NOW - SECOND, trips(5)),
        ABSENT,
        (NOW, trips(5, "five")),
        (NOW, trips(7)),
        (NOW, trips(5, "five")),
    ]
    assert online.read(config, stats, driver(1), features=["label"]) == [(NOW, {"label": Value(string_val="five")})]
    assert online.read(config, more, driver(1)) == [ABSENT]
    assert online.read(config, stats) == []
    with pytest.raises(OnlineRequestError, match="'stats' has no feature 'trip'"):
        online.read(config, stats, driver(1), features=["trip"])


def test_many_rows_and_their_progress(online: OnlineKit) -> None:
    config, seen = online.config(), []
    rows = [(driver(number), trips(number, str(number)), NOW, None) for number in range(3000)]
    random.Random(1).shuffle(rows)
    online.write(config, stats, *rows, progress=seen.append)
    assert sum(seen) == 3000
    assert len(online.entity_keys()) == 3000
    found = online.read(config, stats, *(driver(number) for number in range(3000)))
    assert found == [(NOW, trips(number, str(number))) for number in range(3000)]
    online.write(config, stats, progress=seen.append)
    assert sum(seen) == 3000


@pytest.mark.parametrize("name", PYTHON)
def test_every_type(online: OnlineKit, name: str) -> None:
    config, table = online.config(), view("types", {name: PYTHON[name][0]})
    values = messages(name)
    online.write(config, table, *((driver(number), {name: value}, NOW, None) for number, value in enumerate(values)))
    found = online.read(config, table, *(driver(number) for number in range(len(values))))
    assert found == [(NOW, {name: value}) for value in values]


def test_every_type_in_one_view(online: OnlineKit) -> None:
    config, table = online.config(), view("types", {name: dtype for name, (dtype, _) in PYTHON.items()})
    columns = {name: messages(name) for name in PYTHON}
    rows = [{name: values[row] for name, values in columns.items()} for row in range(4)]
    online.write(config, table, *((driver(number), row, NOW, None) for number, row in enumerate(rows)))
    assert online.read(config, table, *map(driver, range(4))) == [(NOW, row) for row in rows]


@pytest.mark.parametrize(
    "keys",
    [
        {"driver_id": -(2**63)},
        {"customer_id": "žluťoučký\0*"},
        {"customer_id": ""},
        {"hour_start": 7200},
        {"code_id": b"\xff\0"},
        {"small_id": -1},
        {"small_id": 5, "customer_id": "a", "driver_id": 7},
        {"hour_start": 0, "code_id": b"prod"},
    ],
    ids=str,
)
def test_every_key(online: OnlineKit, keys: dict[str, Any]) -> None:
    config, table = online.config(), view("keyed", {"total": Int64}, tuple(keys))
    total = {"total": Value(int64_val=1)}
    online.write(config, table, (key(**keys), total, NOW, None))
    turned = key(**dict(reversed(keys.items())))
    assert online.read(config, table, key(**keys), turned) == [(NOW, total)] * 2
    others = [{**keys, name: type(value)() if value else {"": "x", 0: 1}[value]} for name, value in keys.items()]  # type: ignore[index]
    assert online.read(config, table, *(key(**other) for other in others)) == [ABSENT] * len(keys)


def test_a_view_without_entities(online: OnlineKit) -> None:
    config, world = online.config(), view("world", {"total": Int64}, ())
    assert online.read(config, world, NO_KEY) == [ABSENT]
    online.write(config, world, (NO_KEY, {"total": Value(int64_val=9)}, NOW, None))
    assert online.read(config, world, NO_KEY) == [(NOW, {"total": Value(int64_val=9)})]


def test_a_null_key_matches_nothing(online: OnlineKit, caplog: pytest.LogCaptureFixture) -> None:
    config = online.config()
    with caplog.at_level(logging.WARNING):
        online.write(config, stats, (driver(None), trips(1), NOW, None), (driver(1), trips(2), NOW, None))
    assert "view stats: left out 1 rows whose join key is null" in caplog.text
    assert online.read(config, stats, driver(None), driver(1)) == [ABSENT, (NOW, trips(2))]


def test_views_of_one_entity_share_a_hash(online: OnlineKit) -> None:
    config = online.config()
    put(online, 1)
    online.write(config, more, (driver(1), {"rating": Value(float_val=0.5)}, NOW - SECOND, None))
    assert len(online.entity_keys()) == 1
    assert held(online) == (NOW, 1)
    assert online.read(config, more, driver(1)) == [(NOW - SECOND, {"rating": Value(float_val=0.5)})]


@pytest.mark.parametrize(
    "moment",
    [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), datetime(9999, 1, 1, tzinfo=UTC)],
)
def test_any_moment(online: OnlineKit, moment: datetime) -> None:
    """Without a zone it is UTC."""
    put(online, 1, moment.replace(tzinfo=None))
    assert held(online) == (moment, 1)
    put(online, 2, moment + MICRO)
    put(online, 3, moment)
    assert held(online) == (moment + MICRO, 2)


def test_arrow_and_protobuf_write_the_same(online: OnlineKit) -> None:
    config = online.config()
    batch = pa.RecordBatch.from_pydict(
        {
            "driver_id": [1, 2],
            "trips": [5, None],
            "label": ["x", ""],
            "when": pa.array([NOW] * 2, pa.timestamp("ns", "UTC")),
        }
    )
    assert online.store.write_arrow(config, stats, [batch], "when") == Written(written=2)
    assert online.read(config, stats, driver(1), driver(2)) == [(NOW, trips(5, "x")), (NOW, trips(None, ""))]
    before = {name: online.client.hgetall(name) for name in online.entity_keys()}
    online.client.flushdb()
    online.write(config, stats, (driver(1), trips(5, "x"), NOW, None), (driver(2), trips(None, ""), NOW, None))
    assert {name: online.client.hgetall(name) for name in online.entity_keys()} == before
    assert online.store.write_arrow(config, stats, [batch], "when") == Written(equal=2)


# ------------------------------------------------------------------------------------------------- who wins


def test_newer_wins_whatever_the_order(online: OnlineKit) -> None:
    put(online, 1)
    put(online, 2, NOW - MICRO)
    assert held(online) == (NOW, 1)
    put(online, 3, NOW + MICRO)
    assert held(online) == (NOW + MICRO, 3)
    put(online, 4, NOW - timedelta(days=40_000))
    assert held(online) == (NOW + MICRO, 3)


def test_ties_overwrite(online: OnlineKit) -> None:
    put(online, 1)
    put(online, 2)
    assert held(online) == (NOW, 2)
    put(online, None)
    assert held(online) == (NOW, None)


def test_in_one_batch_the_newest_event_then_created_wins(online: OnlineKit) -> None:
    config = online.config()
    ways = [
        ([(0, None), (2, None), (1, None)], 1),
        ([(0, 5), (0, 7), (0, 6)], 1),
        ([(0, None), (0, -5)], 1),
        ([(0, 5), (0, None)], 0),
        ([(0, 5), (0, 5)], 1),
        ([(1, 0), (0, 9)], 0),
    ]
    rows = [
        (driver(number), trips(place), NOW + event * SECOND, None if created is None else NOW + created * SECOND)
        for number, (way, _) in enumerate(ways)
        for place, (event, created) in enumerate(way)
    ]
    online.write(config, stats, *rows)
    found = online.read(config, stats, *map(driver, range(len(ways))), features=["trips"])
    assert [values and values["trips"].int64_val for _, values in found] == [winner for _, winner in ways]


def test_created_decides_between_batches_where_it_is_stored(online: OnlineKit) -> None:
    put(online, 1, created=NOW)
    put(online, 2, created=NOW - SECOND)
    # Feast's bytes have no place for it.
    assert held(online) == (NOW, 1 if online.layout == "rows" else 2)
    put(online, 3, created=NOW + SECOND)
    assert held(online) == (NOW, 3)


def test_skipping_the_comparison(online: OnlineKit) -> None:
    put(online, 1, skip_dedup=True)
    put(online, 2, NOW - SECOND, skip_dedup=True)
    assert held(online) == (NOW - SECOND, 2)


# -------------------------------------------------------------------------------------------- how long rows stay


def test_rows_live_for_ever_unless_told_otherwise(online: OnlineKit) -> None:
    put(online, 1)
    [redis_key] = online.entity_keys()
    assert online.seconds_left(redis_key, stats) == online.client.ttl(redis_key) == -1


def test_retention_is_refreshed_by_new_and_equal_rows_alone(online: OnlineKit) -> None:
    config = online.config(key_ttl_seconds=1000)
    put(online, 1, config=config)
    [redis_key] = online.entity_keys()
    assert 990 < online.seconds_left(redis_key, stats) <= 1000
    for number, event, refreshed in ((1, NOW, True), (2, NOW - SECOND, False), (3, NOW, True), (4, NOW + SECOND, True)):
        online.shorten(redis_key, stats, 10)
        put(online, number, event, config=config)
        assert (online.seconds_left(redis_key, stats) > 10) == refreshed


@pytest.mark.parametrize(("settings", "seconds"), [({"retention": "1m"}, 2 * 86_400), ({"key_ttl_seconds": 60}, 60)])
def test_retention_is_longer_than_the_ttl_but_for_feasts_own_key(
    online: OnlineKit, settings: dict[str, Any], seconds: int
) -> None:
    table = view("stats", {"trips": Int64, "label": String}, ttl=timedelta(days=1))
    online.write(online.config(**settings), table, (driver(1), trips(1), NOW, None))
    [redis_key] = online.entity_keys()
    assert seconds - 10 < online.seconds_left(redis_key, table) <= seconds


# --------------------------------------------------------------------------------------------- views that change


def test_features_that_come_and_go(online: OnlineKit) -> None:
    config = online.config()
    first = view("v", {"a": Int64, "b": String, "c": Float32})
    online.write(config, first, (driver(1), {"a": Value(int64_val=1), "b": Value(string_val="x")}, NOW, None))
    later = view("v", {"d": Int64, "c": Float32, "a": Int64})
    online.write(config, later, (driver(2), {"a": Value(int64_val=2), "d": Value(int64_val=3)}, NOW, None))
    assert online.read(config, later, driver(1), driver(2), driver(3)) == [
        (NOW, {"d": Value(), "c": Value(), "a": Value(int64_val=1)}),
        (NOW, {"d": Value(int64_val=3), "c": Value(), "a": Value(int64_val=2)}),
        ABSENT,
    ]


def test_types_that_become_others(online: OnlineKit) -> None:
    config = online.config()
    old = view("v", {"a": Int32, "b": Int64, "c": Float64})
    row = {"a": Value(int32_val=-1), "b": Value(int64_val=5), "c": Value(double_val=0.5)}
    online.write(config, old, (driver(1), row, NOW, None))
    new = view("v", {"a": Int64, "b": Float64, "c": Float32})
    converted = {"a": Value(int64_val=-1), "b": Value(double_val=5.0), "c": Value(float_val=0.5)}
    assert online.read(config, new, driver(1)) == [(NOW, converted)]
    with pytest.raises(
        RowDecodeError, match="feature view 'v': feature 'b' is declared STRING and was stored as INT64"
    ):
        online.read(config, view("v", {"b": String}), driver(1))
    online.write(config, view("v", {"b": String}), (driver(1), {"b": Value(string_val="now")}, NOW, None))
    assert online.read(config, view("v", {"b": String}), driver(1)) == [(NOW, {"b": Value(string_val="now")})]


# ------------------------------------------------------------------------------------------------ what is removed


def remove(online: OnlineKit, config: Any, *gone: Any, kept: tuple[Any, ...] = ()) -> None:
    online.store.update(config, list(gone), list(kept), [], [], False)


def test_removed_views_go_and_others_stay(online: OnlineKit) -> None:
    prod, other = online.config(), online.config("nonprod")
    rating = {"rating": Value(float_val=0.5)}
    for config in (prod, other):
        online.write(config, stats, *((driver(number), trips(number), NOW, None) for number in range(1200)))
        online.write(config, more, (driver(1), rating, NOW, None))
    remove(online, prod, stats, kept=(more,))
    assert online.read(prod, stats, driver(1), driver(2)) == [ABSENT, ABSENT]
    assert online.read(prod, more, driver(1)) == [(NOW, rating)]
    assert online.read(other, stats, driver(1199)) == [(NOW, trips(1199))]
    # A hash without rows is gone.
    assert len(online.entity_keys()) == 1 + 1200
    put(online, 8, NOW - SECOND)
    assert held(online) == (NOW - SECOND, 8)


def test_teardown_of_prod_leaves_nonprod(online: OnlineKit) -> None:
    """Feast's own store deletes by the pattern `*prod`."""
    texts = view("texts", {"total": Int64}, ("customer_id",))
    configs = {name: online.config(name) for name in ("prod", "nonprod", "prod2", "pro")}
    for config in configs.values():
        put(online, 1, config=config)
        for text in ("prod", "nonprod"):
            online.write(config, texts, (key(customer_id=text), {"total": Value(int64_val=1)}, NOW, None))
    online.store.teardown(configs["prod"], [stats, texts], [])
    assert {name: held(online, config) for name, config in configs.items()} == {
        "prod": (None, None),
        "nonprod": (NOW, 1),
        "prod2": (NOW, 1),
        "pro": (NOW, 1),
    }
    assert len(online.entity_keys()) == 9
    put(online, 3)
    assert held(online) == (NOW, 3)
    for _ in range(2):
        online.store.teardown(configs["prod"], [stats, texts], [])
        assert len(online.entity_keys()) == 9


def test_versions_of_a_view_have_rows_of_their_own(online: OnlineKit) -> None:
    config = online.config(versions=True)
    versions = []
    for number in range(4):
        version = view("v", {"trips": Int64, "label": String})
        version.current_version_number = number
        versions.append(version)
        online.write(config, version, (driver(1), trips(number), NOW, None))
    neighbour = view("v_v2x", {"trips": Int64, "label": String})
    online.write(config, neighbour, (driver(1), trips(9), NOW, None))
    assert [online.read(config, version, driver(1)) for version in versions] == [
        [(NOW, trips(number))] for number in range(4)
    ]
    remove(online, config, versions[3], kept=(neighbour,))
    assert [online.read(config, version, driver(1)) for version in versions] == [[ABSENT]] * 4
    assert online.read(config, neighbour, driver(1)) == [(NOW, trips(9))]


# ---------------------------------------------------------------------------------------------- through the SDK


def test_statuses_and_times(online: OnlineKit) -> None:
    repository = FeatureStore(config=online.config())
    aged = view("aged", {"trips": Int64, "label": String}, ttl=timedelta(hours=1))
    fresh = datetime.now(NOW.tzinfo).replace(microsecond=0)
    repository.apply([entity("driver_id"), aged, more])
    online.write(
        repository.config,
        aged,
        (driver(1), trips(1, "new"), fresh, None),
        (driver(2), trips(2, "old"), fresh - 2 * timedelta(hours=1), None),
        (driver(3), trips(None, "null"), fresh, None),
    )
    rows = [{"driver_id": number} for number in (3, 1, 9, 2, 1)]
    found = online.answer(repository, ["aged:trips", "more:rating", "aged:label"], rows)
    assert found.to_dict() == {
        "driver_id": [3, 1, 9, 2, 1],
        "trips": [None, 1, None, 2, 1],
        "rating": [None] * 5,
        "label": ["null", "new", None, "old", "new"],
    }
    assert found.statuses["trips"] == ["NULL_VALUE", "PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE", "PRESENT"]
    assert found.statuses["rating"] == ["NOT_FOUND"] * 5
    times = found.to_dict(include_event_timestamps=True)["label__ts"]
    second = int(fresh.timestamp())
    assert times == [second, second, 0, second - 7200, second]
