"""Bodies of what is written and materialized: as Feast's server takes them, and nothing that is misspelt."""

from __future__ import annotations

import msgspec
import pytest
from feast import feature_server

from yummy_feast.serving.features import bodies
from yummy_feast.serving.http import RefusedError

PAIRS = [
    (bodies.PushRequest, feature_server.PushFeaturesRequest),
    (bodies.WriteRequest, feature_server.WriteToFeatureStoreRequest),
    (bodies.MaterializeRequest, feature_server.MaterializeRequest),
    (bodies.MaterializeIncrementalRequest, feature_server.MaterializeIncrementalRequest),
]


@pytest.mark.parametrize(("ours", "feast"), PAIRS)
def test_the_fields_and_their_defaults_are_feast_s(ours: type[msgspec.Struct], feast: type) -> None:
    fields = {
        field.name: None if field.default is msgspec.NODEFAULT else field.default
        for field in msgspec.structs.fields(ours)
    }
    theirs = {
        name: None if field.is_required() else field.default
        for name, field in feast.model_fields.items()  # type: ignore[attr-defined]
    }
    assert fields == theirs


@pytest.mark.parametrize(
    ("body", "code", "hint"),
    [
        (b"", "MALFORMED_JSON", "send a JSON object"),
        (b"\xff", "MALFORMED_JSON", "send a JSON object"),
        (b'{"push_source_name": "a", "df": {"x": ' + b"[" * 100_000, "MALFORMED_JSON", "send a JSON object"),
        (b"[]", "INVALID_BODY", "the fields are push_source_name, df"),
        (b'{"push_source_name": "a"}', "INVALID_BODY", "the fields are"),
        (b'{"push_source_name": "a", "df": {}, "two": "online"}', "INVALID_BODY", "known: allow_registry_cache"),
        (b'{"push_source_name": "a", "df": {"x": [NaN]}, "to": 5}', "INVALID_BODY", "the fields are"),
    ],
)
def test_what_is_refused(body: bytes, code: str, hint: str) -> None:
    with pytest.raises(RefusedError) as caught:
        bodies.decode(body, bodies.PushRequest)
    assert (caught.value.status, caught.value.code) == (422, code)
    assert hint in caught.value.hint


def test_python_s_nan_is_null() -> None:
    body = b'{"push_source_name": "a", "df": {"x": [NaN, 1.5, {"y": NaN}], "z": [Infinity]}}'
    assert bodies.decode(body, bodies.PushRequest).df == {"x": [None, 1.5, {"y": None}], "z": [float("inf")]}
