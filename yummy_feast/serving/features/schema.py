"""OpenAPI of the hot endpoint, written from the structs that it decodes and from what it answers."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from yummy_feast.serving.features.request import FeaturesRequest


class FeatureVector(msgspec.Struct):
    """One column of the answer, aligned with the rows of the request."""

    values: list[Any]
    statuses: list[Literal["PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE"]]
    event_timestamps: list[str]


class FeatureViewVersion(msgspec.Struct, omit_defaults=True):
    """A feature view that was read, and its version where it has one."""

    name: str
    version: int = 0


class Metadata(msgspec.Struct, omit_defaults=True):
    """Names of the columns: join keys first, then features in the order they were asked for."""

    feature_names: list[str]
    feature_view_metadata: list[FeatureViewVersion] = []


class FeaturesResponse(msgspec.Struct):
    """The answer: ``results[i]`` is the column ``metadata.feature_names[i]``."""

    metadata: Metadata
    results: list[FeatureVector]


class RefusalDetail(msgspec.Struct):
    """A code for programs, what is wrong, and what to do about it."""

    error: str
    message: str
    hint: str


class Refusal(msgspec.Struct):
    """Every answer that is none."""

    detail: RefusalDetail


def _components() -> dict[str, Any]:
    structs = [FeaturesRequest, FeaturesResponse, Refusal]
    _, found = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    return found


SCHEMAS: Final[dict[str, Any]] = _components()
"""Name -> JSON schema."""

_ASKED: Final = {
    "by reference": {
        "summary": "Features by reference",
        "value": {
            "entities": {"driver_id": [1001, 1002]},
            "features": ["driver_stats:conv_rate", "driver_stats:trips"],
        },
    },
    "by service": {
        "summary": "A feature service, names with their view in front",
        "value": {
            "entities": {"driver_id": [1001]},
            "feature_service": "driver_activity",
            "full_feature_names": True,
        },
    },
    "with request data": {
        "summary": "Request data of an on-demand feature view stands among the entities",
        "value": {"entities": {"driver_id": [1001], "bonus": [1.5]}, "features": ["with_bonus:conv_plus"]},
    },
}
_EPOCH: Final = "1970-01-01T00:00:00Z"
_ANSWERED: Final = {
    "metadata": {"feature_names": ["driver_id", "conv_rate"]},
    "results": [
        {"values": [1001, 1002], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": [_EPOCH, _EPOCH]},
        {
            "values": [0.25, None],
            "statuses": ["PRESENT", "NOT_FOUND"],
            "event_timestamps": ["2026-11-20T12:00:00Z", _EPOCH],
        },
    ],
}
_REFUSED: Final = {
    404: ("A feature view, service or feature does not exist", "FEATURE_VIEW_NOT_FOUND"),
    408: ("The body did not come in time", "BODY_TOO_SLOW"),
    413: ("The body is too large", "BODY_TOO_LARGE"),
    422: ("The request cannot be answered as it is", "MISSING_JOIN_KEY"),
    503: ("The online store is away, or too many requests are under way: try again", "ONLINE_STORE_UNAVAILABLE"),
}


def _content(name: str, **more: Any) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}, **more}}


def _refusals() -> dict[str, Any]:
    return {
        str(status): {
            "description": description,
            "content": _content("Refusal", example={"detail": {"error": code, "message": "...", "hint": "..."}}),
        }
        for status, (description, code) in _REFUSED.items()
    }


PATHS: Final[dict[str, Any]] = {
    "/get-online-features": {
        "post": {
            "summary": "Online features of some entities",
            "operationId": "get_online_features",
            "requestBody": {"required": True, "content": _content("FeaturesRequest", examples=_ASKED)},
            "responses": {
                "200": {
                    "description": "One column per join key and feature",
                    "headers": {
                        "Server-Timing": {
                            "description": "Milliseconds: decode, redis, assemble",
                            "schema": {"type": "string"},
                        }
                    },
                    "content": _content("FeaturesResponse", example=_ANSWERED),
                },
                **_refusals(),
            },
        }
    }
}
"""OpenAPI's paths of the hot endpoint."""
