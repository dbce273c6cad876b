"""OpenAPI of the endpoints that write and materialize, from the structs that they decode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from yummy_feast.serving.features.bodies import (
    MaterializeIncrementalRequest,
    MaterializeRequest,
    PushRequest,
    WriteRequest,
)
from yummy_feast.serving.features.runs import Run

_DF: Final = {
    "driver_id": [1001, 1002],
    "event_timestamp": ["2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z"],
    "created": ["2026-11-20T12:01:00Z", "2026-11-20T12:01:00Z"],
    "conv_rate": [0.25, None],
    "trips": [14, 3],
}
PUSHED: Final = {
    "online": {"summary": "To the online store", "value": {"push_source_name": "driver_stats_push", "df": _DF}},
    "both": {
        "summary": "To both stores",
        "value": {"push_source_name": "driver_stats_push", "df": _DF, "to": "online_and_offline"},
    },
}
"""Bodies of `/push`."""
WRITTEN: Final = {"rows": {"summary": "Two rows", "value": {"feature_view_name": "driver_stats", "df": _DF}}}
"""Bodies of `/write-to-online-store`."""
MATERIALIZED: Final = {
    "range": {
        "summary": "One day of one feature view",
        "value": {
            "start_ts": "2026-11-19T00:00:00Z",
            "end_ts": "2026-11-20T00:00:00Z",
            "feature_views": ["driver_stats"],
        },
    },
    "everything": {"summary": "Everything there is", "value": {"disable_event_timestamp": True}},
}
"""Bodies of `/materialize`."""
INCREMENTAL: Final = {
    "all": {"summary": "What is new of every feature view", "value": {"end_ts": "2026-11-20T00:00:00Z"}}
}
"""Bodies of `/materialize-incremental`."""
_REFUSED: Final = {
    400: ("The client hung up", "CLIENT_GONE"),
    401: ("Nobody is known to ask", "UNAUTHENTICATED"),
    403: ("Not permitted", "PERMISSION_DENIED"),
    404: ("It does not exist", "FEATURE_VIEW_NOT_FOUND"),
    409: ("A materialization is running", "MATERIALIZATION_RUNNING"),
    413: ("The body is too large", "BODY_TOO_LARGE"),
    422: ("It cannot be done as it is asked", "INVALID_VALUES"),
    501: ("Feast's server has this, this one does not", "NOT_IMPLEMENTED"),
    503: ("A store is away, or too much is under way: try again", "ONLINE_STORE_UNAVAILABLE"),
}


def _components() -> dict[str, Any]:
    structs = [PushRequest, WriteRequest, MaterializeRequest, MaterializeIncrementalRequest, Run]
    _, found = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    return found


SCHEMAS: Final[dict[str, Any]] = _components()
"""Name -> JSON schema."""


def content(name: str, **more: Any) -> dict[str, Any]:
    """OpenAPI's ``content`` of a component."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}, **more}}


def described(name: str, examples: dict[str, Any]) -> dict[str, Any]:
    """The body of an operation, for ``openapi_extra``."""
    return {"requestBody": {"required": True, "content": content(name, examples=examples)}}


def refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers that are none, for ``responses``."""
    return answers({}, *statuses)


def answers(given: Mapping[int, dict[str, Any]], *statuses: int) -> dict[int | str, dict[str, Any]]:
    """``given`` answers by their status, and those that are none, for ``responses``."""
    found: dict[int | str, dict[str, Any]] = dict(given.items())
    for status in statuses:
        found[status] = {
            "description": _REFUSED[status][0],
            "content": content(
                "Refusal", example={"detail": {"error": _REFUSED[status][1], "message": "...", "hint": "..."}}
            ),
        }
    return found
