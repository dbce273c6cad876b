"""Requests that are no good, or that only one of the servers takes: what each answers to them.

docs/differences.md has the same table; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Answer = int | str
"""200, the status of a refusal, or the code of one of ours."""
STATUSES = {
    "MALFORMED_JSON": 422,
    "INVALID_BODY": 422,
    "INVALID_FEATURES": 422,
    "INVALID_ENTITIES": 422,
    "MISSING_JOIN_KEY": 422,
    "MISSING_REQUEST_DATA": 422,
    "ON_DEMAND_FAILED": 422,
    "FEATURE_NAMES_COLLIDE": 422,
    "FEATURE_NOT_FOUND": 404,
    "FEATURE_VIEW_NOT_FOUND": 404,
    "FEATURE_VIEW_VERSION_NOT_FOUND": 404,
    "FEATURE_SERVICE_NOT_FOUND": 404,
}


@dataclass(frozen=True)
class Odd:
    """what: its row in the docs. stock, ours, compat: Feast's answer, ours, and ours under compat."""

    what: str
    bodies: tuple[Any, ...]
    stock: int
    ours: Answer
    compat: Answer
    project: str = "side"


TRIPS = ["stats:trips"]
ONE = {"driver_id": [1]}


def _ask(features: Any, entities: Any, **more: Any) -> dict[str, Any]:
    return {"features": features, "entities": entities, **more}


def _one(*features: Any, **more: Any) -> dict[str, Any]:
    return _ask(list(features), ONE, **more)


def _trips(*drivers: Any, **more: Any) -> dict[str, Any]:
    return _ask(TRIPS, {"driver_id": list(drivers)}, **more)


def _of(customer: Any) -> dict[str, Any]:
    return _ask(["customers:city"], {"customer_id": [customer]})


def _at(moment: Any) -> dict[str, Any]:
    return _ask(["hours:load"], {"hour_start": [moment]})


def _pair(**columns: Any) -> dict[str, Any]:
    return _ask(["pairs:score"], columns)


def _bonus(*values: Any) -> dict[str, Any]:
    return _ask(["plus:conv_plus"], {"driver_id": [0, 1][: len(values)], "bonus": list(values)})


def _alike(what: str, stock: int, ours: Answer, *bodies: Any, project: str = "side") -> Odd:
    return Odd(what, bodies, stock, ours, ours, project)


def _loose(what: str, ours: str, *bodies: Any) -> Odd:
    """What Feast lets pass, and so do we under compat."""
    return Odd(what, bodies, 200, ours, 200)


def _of_drivers(values: str) -> bytes:
    return b'{"features":["stats:trips"],"entities":{"driver_id":[%b]}}' % values.encode()


BODY = [
    _alike("a body that is not JSON", 422, "MALFORMED_JSON", b"{not json", b"", b'{"entities": {"driver_id": [1]'),
    _alike(
        "text that is no UTF-8, brackets without end",
        400,
        "MALFORMED_JSON",
        b'{"features":["\xff"]}',
        _of_drivers("[" * 5000 + "]" * 5000),
    ),
    _alike("half a surrogate pair", 500, "MALFORMED_JSON", _of_drivers('"\\ud800"')),
    _alike("`NaN`, which is not JSON", 500, "MALFORMED_JSON", _of_drivers("NaN")),
    _alike(
        "a field of the wrong type, or none",
        422,
        "INVALID_BODY",
        *({"features": TRIPS}, [1], "text", 1, _ask(TRIPS, [ONE]), _ask(TRIPS, {"driver_id": 1}), _one(1)),
        *(_ask("stats:trips", ONE), _trips(1, full_feature_names="perhaps"), _trips(1, full_feature_names=2)),
        _trips(1, feature_service=5),
    ),
    _loose("a field that the body should not have", "INVALID_BODY", _trips(1, extra=1)),
    _loose(
        '`"true"` or `1` for true',
        "INVALID_BODY",
        _trips(1, full_feature_names="true"),
        _trips(1, full_feature_names=1),
    ),
]
FEATURES = [
    _alike("no features", 500, "INVALID_FEATURES", _one(), {"entities": ONE}),
    _loose(
        "both a service and features",
        "INVALID_FEATURES",
        {"feature_service": "renamed", **_ask(TRIPS, {"customer_id": ["a"]})},
    ),
    _alike("a service that does not exist", 404, "FEATURE_SERVICE_NOT_FOUND", {"feature_service": "x", "entities": {}}),
    _alike(
        "a view that does not exist",
        404,
        "FEATURE_VIEW_NOT_FOUND",
        *(_one("stat:trips"), _one(":trips"), _one("stats@vx:trips")),
    ),
    _alike(
        "a feature that does not exist",
        500,
        "FEATURE_NOT_FOUND",
        *(_one("stats:trip"), _one("stats:"), _one("stats:trips:x")),
        _ask(["plus:nothing"], {"driver_id": [1], "bonus": [1.0]}),
    ),
    _alike("a reference without a colon", 500, "INVALID_FEATURES", _one("stats")),
    _alike(
        "two features of one name",
        500,
        "FEATURE_NAMES_COLLIDE",
        *(_one(*TRIPS, *TRIPS), _one("stats:trips", "more:trips"), _one(*TRIPS, *TRIPS, full_feature_names=True)),
    ),
    _alike(
        "a view that is disabled, or not yet available online",
        500,
        "INVALID_FEATURES",
        *(_one("off:never"), _one("unready:later"), {"feature_service": "closed", "entities": ONE}),
    ),
    _alike("`view@v1:feature` where views have no versions", 500, "INVALID_FEATURES", _one("stats@v0:trips")),
    _alike(
        "a version that does not exist",
        404,
        "FEATURE_VIEW_VERSION_NOT_FOUND",
        _one("fares@v7:amount"),
        project="versions",
    ),
    _alike(
        "a feature that its version does not have",
        500,
        "FEATURE_NOT_FOUND",
        _one("fares@v1:paid_by"),
        project="versions",
    ),
    _alike("a view over an entity of type Bool", 500, "INVALID_FEATURES", _ask(["flags:means"], {"flag_id": [True]})),
    _alike(
        "a service with `precompute_online`, nothing precomputed",
        500,
        200,
        {"feature_service": "precomputed", "entities": {"driver_id": [1, 2]}},
    ),
]
ROWS = [
    _alike("no column for a join key", 500, "MISSING_JOIN_KEY", _ask(TRIPS, {}), _ask(TRIPS, {"customer_id": ["a"]})),
    _alike("one of two join keys", 200, "MISSING_JOIN_KEY", _pair(driver_id=[1])),
    _alike("no rows", 500, "INVALID_ENTITIES", _trips(), _ask(["world:total"], {"driver_id": []})),
    _alike("no columns, for a view without entities", 500, 200, _ask(["world:total"], {})),
    _alike("columns of different lengths", 500, "INVALID_ENTITIES", _pair(driver_id=[1, 0], customer_id=["a"])),
    _loose(
        "a column that nothing uses",
        "INVALID_ENTITIES",
        *(_ask(TRIPS, {**ONE, "x": [1]}), _ask(TRIPS, {**ONE, "customer_id": ["a"]})),
        *(_ask(TRIPS, {"driver": [1], "driver_ids": [1]}), _ask(["world:total"], {"driver_id": [1, 2]})),
    ),
    _alike(
        "a null join key",
        500,
        200,
        *(_trips(None), _trips(1, None), _of(None), _pair(driver_id=[1], customer_id=[None])),
    ),
    _alike(
        "a join key of another type",
        500,
        "INVALID_ENTITIES",
        *(_trips("one"), _trips(""), _trips([1]), _trips({}), _of(["a"]), _at("soon")),
    ),
    _alike(
        "an integer out of range",
        500,
        "INVALID_ENTITIES",
        *(_trips(2**63), _trips(2**70), _ask(["smalls:size"], {"small_id": [2**31]})),
    ),
    _alike(
        '`1.5`, `true` or `" 1 "` for an integer', 200, "INVALID_ENTITIES", _trips(1.5), _trips(True), _trips(" 1 ")
    ),
    _alike("ISO 8601 text for a timestamp", 500, 200, _at("1970-01-01T02:00:00Z"), _at("1970-01-01T02:00:00")),
    _alike("text for bytes", 500, "INVALID_ENTITIES", _ask(["codes:meaning"], {"code_id": ["AP8="]})),
]
COMPUTED = [
    _alike("request data that is missing", 404, "MISSING_REQUEST_DATA", _one("plus:conv_plus")),
    _alike(
        "a transformation that fails",
        500,
        "ON_DEMAND_FAILED",
        *(_bonus(None), _bonus("x"), _bonus([1.5]), _bonus({"a": 1})),
        *(_ask(["shares:share"], {"driver_id": [driver]}) for driver in (0, 77)),
        _ask(["said:said"], {"word": ["x"], "times": [2**70]}),
    ),
    Odd("request data that do not fit together", (_bonus(2.5, "x"),), 500, "ON_DEMAND_FAILED", "INVALID_ENTITIES"),
]
ODD = [*BODY, *FEATURES, *ROWS, *COMPUTED]

EQUAL = [
    *(_trips("1"), _trips(1.0), _trips(1e3), _trips(1, "1", 1.0), _trips(2**63 - 1, -(2**63))),
    _ask(["smalls:size"], {"small_id": ["5"]}),
    *map(_of, (1, True, 1.0, "\0", "1", "a" * 5000)),
    _ask(["customers:city"], {"customer_id": ["a", 1]}),
    *map(_at, (7200, "7200", -3600)),
    _ask(["world:total"], {"__dummy_id": [""]}),
    *(_one("stats@latest:trips"), _one("shares:share"), _ask(TRIPS, {"driver": [1]})),
    *(_trips(1, feature_service=""), _trips(1, feature_service=None)),
    b'{"features":["stats:trips"],"features":["stats:conv"],"entities":{"driver_id":[1]}}',
]
"""Requests that look odd, and that both take as they are meant."""
MIXED = _bonus(1, 2.5)
"""Request data that Feast takes for integers."""
TIME_AS_FLOAT = _at(7200.0)
"""A timestamp that Feast makes another one of."""
