"""What OpenAPI tells of ``/invocations``, which the framework never sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from yummy_feast.serving.models.registry import Models

_ROWS: Final = {"type": "array", "minItems": 1, "items": {"type": "array", "items": {}}}
_NAMES: Final = {"type": "array", "items": {"type": "string"}}
_PARAMS: Final = {"type": "object", "additionalProperties": True}

SCHEMAS: Final[dict[str, Any]] = {
    "Predictions": {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": {}}, "features": {"type": "object"}},
    },
    "ModelRefusal": {
        "type": "object",
        "required": ["error_code", "message"],
        "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
    },
    "Invocation": {
        "description": "Exactly one of the forms of rows",
        "oneOf": [
            {
                "title": "dataframe_split",
                "type": "object",
                "required": ["dataframe_split"],
                "properties": {
                    "dataframe_split": {
                        "type": "object",
                        "required": ["data"],
                        "additionalProperties": False,
                        "properties": {"columns": _NAMES, "index": {"type": "array", "items": {}}, "data": _ROWS},
                    },
                    "params": _PARAMS,
                },
            },
            {
                "title": "dataframe_records",
                "type": "object",
                "required": ["dataframe_records"],
                "properties": {
                    "dataframe_records": {"type": "array", "minItems": 1, "items": {"type": "object"}},
                    "params": _PARAMS,
                },
            },
            {"title": "instances", "type": "object", "required": ["instances"], "properties": {"instances": {}}},
            {"title": "inputs", "type": "object", "required": ["inputs"], "properties": {"inputs": {}}},
            {
                "title": "the short form, which answers a bare list",
                "type": "object",
                "required": ["columns", "data"],
                "properties": {"columns": _NAMES, "data": _ROWS},
            },
            {
                "title": "entities, with --feature-service",
                "type": "object",
                "required": ["entities"],
                "properties": {
                    "entities": {"type": "object", "additionalProperties": {"type": "array", "items": {}}},
                    "overrides": {"type": "object", "additionalProperties": True},
                    "return_features": {"type": "boolean", "default": False},
                    "on_missing": {"enum": ["impute_null", "error"]},
                },
            },
        ],
    },
}


def paths_of(models: Models) -> dict[str, Any]:
    """The endpoint at each of its paths."""
    names = list(models.served)
    paths = [f"/invocations/{name}" for name in names]
    if len(names) == 1:
        paths.insert(0, "/invocations")
    return {path: {"post": _operation(path)} for path in paths}


def _operation(path: str) -> dict[str, Any]:
    refusal = {"application/json": {"schema": {"$ref": "#/components/schemas/ModelRefusal"}}}
    told = {
        400: "The rows do not fit the model",
        413: "The body is too large",
        415: "The content type is another one",
        422: "Features are missing",
        503: "Too many requests, or no answer in time",
    }
    answer = {"anyOf": [{"$ref": "#/components/schemas/Predictions"}, {"type": "array", "items": {}}]}
    return {
        "summary": "Predictions",
        "operationId": path.strip("/").replace("/", "_"),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Invocation"}},
                "text/csv": {"schema": {"type": "string"}},
                "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "200": {"description": "One prediction a row", "content": {"application/json": {"schema": answer}}},
            **{str(status): {"description": text, "content": refusal} for status, text in told.items()},
        },
    }
