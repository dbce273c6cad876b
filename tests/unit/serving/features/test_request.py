"""The body of a request, and what it asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from yummy_feast.serving.features.request import Selection, decode, selection_of
from yummy_feast.serving.http import RefusedError


def body(**fields: Any) -> bytes:
    return json.dumps({"entities": {"driver_id": [1]}, **fields}).encode()


def test_a_request_as_feast_s_clients_send_it() -> None:
    request = decode(body(features=["stats:trips"], full_feature_names=True, feature_service=None))
    assert request.entities == {"driver_id": [1]}
    assert selection_of(request) == Selection(None, ("stats:trips",), True)
    service = decode(body(feature_service="mixed", features=[], include_feature_view_version_metadata=True))
    assert selection_of(service) == Selection("mixed", (), False)
    assert service.include_feature_view_version_metadata


@pytest.mark.parametrize(
    ("sent", "code", "message", "hint"),
    [
        (b"", "MALFORMED_JSON", "the body is not JSON", "JSON object"),
        (b"{", "MALFORMED_JSON", "the body is not JSON", "JSON object"),
        (b'{"entities": {"a": [NaN]}}', "MALFORMED_JSON", "not JSON", "JSON object"),
        (b'{"entities": {"a": ["\xff"]}}', "MALFORMED_JSON", "not JSON", "JSON object"),
        (b'{"entities": {"a": ' + b"[" * 100_000, "MALFORMED_JSON", "not JSON", "JSON object"),
        (b'{"entities": {"a": [1]}} x', "MALFORMED_JSON", "not JSON", "JSON object"),
        (b"[]", "INVALID_BODY", "Expected `object`, got `array`", "entities"),
        (b"{}", "INVALID_BODY", "required field `entities`", "entities"),
        (b'{"entities": {"a": 1}}', "INVALID_BODY", "Expected `array`, got `int` - at `$.entities[...]`", "entities"),
        (b'{"entities": [{"a": 1}]}', "INVALID_BODY", "Expected `object`, got `array`", "entities"),
        (body(features="stats:trips"), "INVALID_BODY", "Expected `array | null`, got `str`", "features"),
        (body(features=[1]), "INVALID_BODY", "Expected `str`, got `int`", "features"),
        (body(full_feature_names="yes"), "INVALID_BODY", "Expected `bool`, got `str`", "entities"),
        (body(full_feature_name=True), "INVALID_BODY", "full_feature_name`", "did you mean 'full_feature_names'?"),
        (b'{"entities": {"a": [1e999]}}', "INVALID_BODY", "out of range", "entities"),
    ],
)
def test_a_body_that_is_wrong(sent: bytes, code: str, message: str, hint: str) -> None:
    with pytest.raises(RefusedError) as error:
        decode(sent)
    assert (error.value.status, error.value.code) == (422, code)
    assert message in error.value.message
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "no features were asked for"),
        ({"features": []}, "no features were asked for"),
        ({"features": None, "feature_service": ""}, "no features were asked for"),
        ({"features": ["a:b"], "feature_service": "s"}, "both feature_service 's' and 1 features"),
    ],
)
def test_asking_for_nothing_or_for_both(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RefusedError, match=message) as error:
        selection_of(decode(body(**fields)))
    assert (error.value.status, error.value.code) == (422, "INVALID_FEATURES")
