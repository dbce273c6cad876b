"""Reading through a plan: what is asked of Redis, who is found, how old, and in which order it comes back."""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path

import pytest
from feast.value_type import ValueType

import yummy_feast
from tests.unit.online.reading import NOW, World, driver_more, driver_stats, hour_stats, pair_stats, world_stats
from yummy_feast.errors import MissingJoinKeyError, OnlineRequestError, RowDecodeError
from yummy_feast.online.answer import Status

PRESENT, NULL, MISSING, OLD = Status.PRESENT, Status.NULL_VALUE, Status.NOT_FOUND, Status.OUTSIDE_MAX_AGE


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.at(tmp_path)
    for number in range(1, 4):
        world.put(driver_stats, {"driver_id": number}, {"conv_rate": number / 2, "trips": number, "name": f"d{number}"})
        world.put(driver_more, {"driver_id": number}, {"rating": 0.5, "tags": ["a"], "last_seen": 3600 * number})
    world.put(pair_stats, {"driver_id": 1, "customer_id": "c"}, {"score": 7, "blob": b"\x00"})
    world.put(hour_stats, {"hour_start": 7200}, {"load": 1.5})
    world.put(world_stats, {}, {"total": 99})
    return world


def test_views_of_one_entity_are_one_question(world: World) -> None:
    answer = world.read(["driver_stats:trips", "driver_more:rating"], [{"driver_id": 2}, {"driver_id": 1}])
    assert [fields for _, fields in world.asked] == [(b"driver_stats", b"driver_more")] * 2
    assert answer.to_python() == {"driver_id": [2, 1], "trips": [2, 1], "rating": [0.5, 0.5]}


def test_an_entity_asked_for_twice_is_read_once(world: World) -> None:
    rows = [{"driver_id": number} for number in (3, 1, 3, 3, 1)]
    answer = world.read(["driver_stats:trips", "driver_more:tags"], rows)
    assert len(world.asked) == 2
    assert answer.to_python() == {"driver_id": [3, 1, 3, 3, 1], "trips": [3, 1, 3, 3, 1], "tags": [["a"]] * 5}


def test_an_answer_does_not_share_its_lists_with_the_caller(world: World) -> None:
    answer = world.read(["driver_more:tags"], [{"driver_id": 1}, {"driver_id": 1}])
    answer.to_python()["tags"][0].append("b")
    assert answer.to_python()["tags"] == [["a"], ["a"]]


def test_columns_come_in_the_order_of_the_request(world: World) -> None:
    features = ["driver_more:rating", "driver_stats:name", "driver_more:tags", "driver_stats:conv_rate"]
    answer = world.read(features, [{"driver_id": 1}])
    assert list(answer.to_python()) == ["driver_id", "rating", "name", "tags", "conv_rate"]
    full = world.read(features, [{"driver_id": 1}], full_feature_names=True)
    assert list(full.to_python()) == [
        "driver_id",
        "driver_more__rating",
        "driver_stats__name",
        "driver_more__tags",
        "driver_stats__conv_rate",
    ]


def test_statuses_are_true(world: World) -> None:
    world.put(driver_stats, {"driver_id": 4}, {"conv_rate": None, "trips": 4, "name": "d4"})
    world.put(driver_stats, {"driver_id": 5}, {"conv_rate": 2.5, "trips": None, "name": ""}, NOW - timedelta(days=2))
    world.put(driver_stats, {"driver_id": 6}, {"trips": 6})
    world.put(driver_stats, {"driver_id": 7}, {"trips": 7})
    world.delete(driver_stats, {"driver_id": 7})
    rows = [{"driver_id": number} for number in (1, 4, 5, 6, 7, 8)]
    answer = world.read(["driver_stats:conv_rate", "driver_stats:trips", "driver_more:rating"], rows)
    assert answer.to_python() == {
        "driver_id": [1, 4, 5, 6, 7, 8],
        "conv_rate": [0.5, None, 2.5, None, None, None],
        "trips": [1, 4, None, 6, None, None],
        "rating": [0.5, None, None, None, None, None],
    }
    assert [answer.statuses_of(column) for column in range(4)] == [
        [PRESENT] * 6,
        [PRESENT, NULL, OLD, NULL, MISSING, MISSING],
        [PRESENT, PRESENT, OLD, PRESENT, MISSING, MISSING],
        [PRESENT, MISSING, MISSING, MISSING, MISSING, MISSING],
    ]
    now = int(NOW.timestamp()) * 1_000_000
    assert list(answer.event_times_of(0)) == [0] * 6
    assert list(answer.event_times_of(2)) == [now, now, now - 2 * 86_400_000_000, now, 0, 0]


@pytest.mark.parametrize(("age", "status"), [(timedelta(0), PRESENT), (timedelta(microseconds=1), OLD)])
def test_both_ends_of_the_ttl_are_inside(world: World, age: timedelta, status: Status) -> None:
    now = NOW + timedelta(days=1) + age
    assert world.read(["driver_stats:trips"], [{"driver_id": 1}], now=now).statuses_of(1) == [status]


def test_without_ttl_nothing_is_too_old(world: World) -> None:
    world.put(pair_stats, {"driver_id": 9, "customer_id": "c"}, {"score": 1, "blob": b""}, NOW - timedelta(days=21_000))
    answer = world.read(["pair_stats:score"], [{"driver_id": 9, "customer_id": "c"}])
    assert answer.statuses_of(2) == [PRESENT]
    assert answer.event_times_of(2)[0] < 0


def test_hidden_stale_values_keep_their_status_and_time(world: World) -> None:
    class Hiding:
        on_stale = "hide"

    world.config._online_store = Hiding()
    late = NOW + timedelta(days=3)
    answer = world.read(["driver_stats:trips", "driver_more:rating"], [{"driver_id": 1}], now=late)
    assert answer.to_python() == {"driver_id": [1], "trips": [None], "rating": [0.5]}
    assert answer.statuses_of(1) == [OLD]
    assert list(answer.event_times_of(1)) == [int(NOW.timestamp()) * 1_000_000]


def test_a_null_key_matches_nothing(world: World) -> None:
    rows = [{"driver_id": None}, {"driver_id": 1}, {"driver_id": float("nan")}]
    answer = world.read(["driver_stats:trips"], rows)
    assert answer.to_python() == {"driver_id": [None, 1, None], "trips": [None, 1, None]}
    assert answer.statuses_of(1) == [MISSING, PRESENT, MISSING]
    assert len(world.asked) == 1
    pairs = [{"driver_id": 1, "customer_id": None}, {"driver_id": 1, "customer_id": "c"}]
    assert world.read(["pair_stats:score"], pairs).to_python()["score"] == [None, 7]
    assert world.read(["driver_stats:trips"], [{"driver_id": None}]).to_python()["trips"] == [None]
    assert world.asked == []


def test_views_of_different_entities_are_different_questions(world: World) -> None:
    features = ["driver_stats:trips", "pair_stats:score", "pair_stats:blob", "world_stats:total", "hour_stats:load"]
    row = {"driver_id": 1, "customer_id": "c", "hour_start": NOW.fromtimestamp(7200, tz=NOW.tzinfo)}
    answer = world.read(features, [row])
    assert len(world.asked) == 4
    assert answer.to_python() == row | {"trips": [1], "score": [7], "blob": [b"\x00"], "total": [99], "load": [1.5]} | {
        name: [value] for name, value in row.items()
    }


def test_join_keys_may_be_read_from_other_columns(world: World) -> None:
    service = world.serve(
        "ways",
        [
            driver_stats[["trips"]].with_join_key_map({"driver_id": "from_id"}).with_name("origin"),
            driver_stats[["trips"]].with_join_key_map({"driver_id": "to_id"}).with_name("target"),
            driver_more[["rating"]].with_join_key_map({"driver_id": "to_id"}),
        ],
    )
    rows = [{"from_id": 1, "to_id": 2}, {"from_id": 2, "to_id": 9}]
    answer = world.read(service, rows, full_feature_names=True)
    assert answer.to_python() == {
        "from_id": [1, 2],
        "to_id": [2, 9],
        "origin__trips": [1, 2],
        "target__trips": [2, None],
        "driver_more__rating": [0.5, None],
    }
    assert [fields for _, fields in world.asked] == [(b"driver_stats",)] * 2 + [(b"driver_stats", b"driver_more")] * 2


def test_two_projections_of_one_view_share_its_hash_field(world: World) -> None:
    service = world.serve("twice", [driver_stats[["trips"]].with_name("a"), driver_stats[["conv_rate"]].with_name("b")])
    answer = world.read(service, [{"driver_id": 3}], full_feature_names=True)
    assert answer.to_python() == {"driver_id": [3], "a__trips": [3], "b__conv_rate": [1.5]}
    assert [fields for _, fields in world.asked] == [(b"driver_stats",)]


@pytest.mark.parametrize("rows", [{}, [{}], {"__dummy_id": [""]}])
def test_views_without_entities_need_no_keys(world: World, rows: object) -> None:
    answer = world.read(["world_stats:total"], rows)  # type: ignore[arg-type]
    assert answer.to_python() == {"total": [99]}


def test_views_without_entities_answer_every_row(world: World) -> None:
    answer = world.read(["world_stats:total", "driver_stats:trips"], {"driver_id": [1, 2]})
    assert answer.to_python() == {"driver_id": [1, 2], "total": [99, 99], "trips": [1, 2]}
    assert len(world.asked) == 3


def test_rows_of_earlier_schemas_stay_readable(world: World) -> None:
    world.put(driver_more, {"driver_id": 11}, {"last_seen": 60, "rating": 1.5})
    world.put(driver_more, {"driver_id": 12}, {"tags": [], "rating": 2.5})
    answer = world.read(["driver_more:rating", "driver_more:tags"], {"driver_id": [11, 12, 1]})
    assert answer.to_python() == {"driver_id": [11, 12, 1], "rating": [1.5, 2.5, 0.5], "tags": [None, [], ["a"]]}
    assert answer.statuses_of(2) == [NULL, PRESENT, PRESENT]


def test_decoders_are_compiled_once_per_schema(world: World) -> None:
    plan = world.plan(["driver_stats:trips"])
    from tests.unit.online.reading import microseconds
    from yummy_feast.online.request import to_columns
    from yummy_feast.online.retrieval import answer, ask

    question = ask(plan, *to_columns([{"driver_id": 1}]))
    [(read, [key])] = question.reads
    replies = [[[world.hashes[key][name] for name in read.fields]]]
    answer(question, replies, world, microseconds(NOW))
    world.known.clear()
    assert answer(question, replies, world, microseconds(NOW)).to_python()["trips"] == [1]


@pytest.mark.parametrize("damage", [lambda row: row[:10], lambda row: row[:-1], lambda row: b"\x09" + row[1:]])
def test_damaged_rows_are_told_with_their_view(world: World, damage: object) -> None:
    fields = world.hashes[world.key_of(driver_stats, {"driver_id": 1})]
    fields[b"driver_stats"] = damage(fields[b"driver_stats"])  # type: ignore[operator]
    with pytest.raises(RowDecodeError, match="feature view 'driver_stats': a row"):
        world.read(["driver_more:rating", "driver_stats:trips"], [{"driver_id": 1}])


# ----------------------------------------------------------------------------------------- join keys


@pytest.mark.parametrize("value", [1, "1", 1.0, "+1"])
def test_integer_keys_come_in_many_shapes(world: World, value: object) -> None:
    answer = world.read(["driver_stats:trips"], [{"driver_id": value}])
    assert answer.to_python() == {"driver_id": [1], "trips": [1]}


@pytest.mark.parametrize(
    "value", ["x", "1_0", " 1", "", "1.0", 1.5, True, [1], {"a": 1}, b"1", 2**63, -(2**63) - 1, float("inf"), NOW]
)
def test_other_keys_are_no_integers(world: World, value: object) -> None:
    with pytest.raises(OnlineRequestError, match=r"entity row 1: join key 'driver_id' is .*, not INT64") as caught:
        world.read(["driver_stats:trips"], [{"driver_id": 1}, {"driver_id": value}])
    assert repr(value)[:20] in str(caught.value)


@pytest.mark.parametrize("value", [7200, NOW.fromtimestamp(7200, tz=NOW.tzinfo), "1970-01-01T03:00:00+01:00"])
def test_timestamp_keys_come_in_many_shapes(world: World, value: object) -> None:
    assert world.read(["hour_stats:load"], {"hour_start": [value]}).to_python()["load"] == [1.5]


def test_text_keys_take_numbers(world: World) -> None:
    world.put(pair_stats, {"driver_id": 1, "customer_id": "12"}, {"score": 1, "blob": b""})
    assert world.read(["pair_stats:score"], {"driver_id": [1], "customer_id": [12]}).to_python()["score"] == [1]
    with pytest.raises(OnlineRequestError, match=r"'customer_id' is b'c' \(bytes\), not STRING"):
        world.read(["pair_stats:score"], {"driver_id": [1], "customer_id": [b"c"]})


def test_a_missing_join_key_is_named(world: World) -> None:
    with pytest.raises(MissingJoinKeyError, match=r"lack join key 'driver_id'.* driver_stats.*did you mean 'driverid'"):
        world.read(["driver_stats:trips"], [{"driverid": 1}])
    with pytest.raises(KeyError, match=r"lack join key 'customer_id', which feature view pair_stats needs"):
        world.read(["driver_stats:trips", "pair_stats:score"], [{"driver_id": 1}])
    with pytest.raises(OnlineRequestError, match="the rows have no columns at all"):
        world.read(["driver_stats:trips"], {})


def test_columns_nobody_uses_are_ignored_unless_strict(world: World) -> None:
    row = {"driver_id": 1, "colour": "red"}
    assert world.read(["driver_stats:trips"], [row]).to_python() == {"driver_id": [1], "trips": [1]}
    with pytest.raises(OnlineRequestError, match=r"uses entity column 'colour' \(known: driver_id\)"):
        world.read(["driver_stats:trips"], [row], strict=True)
    with pytest.raises(OnlineRequestError, match="uses entity column 'customer_id'"):
        world.read(["driver_stats:trips"], [{"driver_id": 1, "customer_id": "c"}], strict=True)


def test_join_keys_of_other_entities_are_echoed(world: World) -> None:
    answer = world.read(["driver_stats:trips"], [{"customer_id": "c", "driver_id": 1}])
    assert answer.to_python() == {"customer_id": ["c"], "driver_id": [1], "trips": [1]}


def test_an_entity_may_go_by_its_name(world: World) -> None:
    with pytest.warns(UserWarning, match="'driver' is the name of an entity: use its join key 'driver_id'"):
        answer = world.read(["driver_stats:trips"], [{"driver": 1}])
    assert answer.to_python() == {"driver_id": [1], "trips": [1]}


def test_plans_remember_how_columns_are_used(world: World) -> None:
    plan = world.plan(["driver_stats:trips"])
    assert plan.bind(("driver_id",)) is plan.bind(("driver_id",))
    for number in range(200):
        plan.bind(("driver_id", f"junk_{number}"))
    assert len(plan.bindings) <= 64
    assert plan.groups[0].keys[0].kind == ValueType.INT64.value


# ------------------------------------------------------------------------------------- the house's rule


def test_only_retrieval_reads_features() -> None:
    """HMGET is spoken in `hmget`, and `hmget` is used by `retrieval` (and named by the plan that packs commands).

    What `progress` asks of its one hash is no feature.
    """
    package = Path(yummy_feast.__file__).parent
    speakers, users = set(), set()
    for path in package.rglob("*.py"):
        name = path.relative_to(package).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and node.value.__len__() < 40:
                text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                speakers |= {name} if "HMGET" in text.upper() else set()
            if isinstance(node, ast.Attribute) and node.attr.lower() in {"hmget", "hgetall_rows"}:
                speakers.add(name)
            if isinstance(node, ast.ImportFrom) and node.module == "yummy_feast.online.hmget":
                users |= {name for alias in node.names if alias.name.startswith("read_hashes")}
    assert speakers == {"online/hmget.py", "online/progress.py"}
    assert users == {"online/retrieval.py"}
