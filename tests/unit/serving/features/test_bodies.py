"""Bodies of writes and materializations: what is taken, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from yummy_feast.serving.features.bodies import MaterializeRequest, PushRequest, WriteRequest, decode
from yummy_feast.serving.http import RefusedError


def test_defaults_are_feast_s() -> None:
    found = decode(b'{"push_source_name": "s", "df": {"a": [1]}}', PushRequest)
    assert (found.to, found.allow_registry_cache, found.transform_on_write) == ("online", True, True)
    assert decode(b"{}", MaterializeRequest) == MaterializeRequest()


def test_nan_of_python_s_encoder_is_null() -> None:
    body = b'{"feature_view_name": "v", "df": {"a": [NaN, 1.5], "m": [{"x": [NaN]}]}}'
    assert decode(body, WriteRequest).df == {"a": [None, 1.5], "m": [{"x": [None]}]}


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        (b"", "MALFORMED_JSON", "not JSON"),
        (b"\xff{", "MALFORMED_JSON", "not JSON"),
        (b'{"df": {"a": ' + b"[" * 100_000, "MALFORMED_JSON", "not JSON"),
        (b"[1]", "INVALID_BODY", "object"),
        (b'{"df": {}}', "INVALID_BODY", "push_source_name"),
        (b'{"push_source_name": 1, "df": {}}', "INVALID_BODY", "push_source_name"),
        (b'{"push_source_name": "s", "df": {}, "to": "nowhere"}', "INVALID_BODY", "nowhere"),
        (b'{"push_source_name": "s", "df": {"a": [NaN]}, "to": 1}', "INVALID_BODY", "to"),
    ],
)
def test_refusals(body: bytes, code: str, told: str) -> None:
    with pytest.raises(RefusedError) as refused:
        decode(body, PushRequest)
    assert (refused.value.status, refused.value.code) == (422, code)
    assert told in refused.value.message


def test_a_misspelt_field_is_told_the_nearest() -> None:
    with pytest.raises(RefusedError) as refused:
        decode(b'{"push_source_nam": "s", "df": {}}', PushRequest)
    hint: Any = refused.value.hint
    assert "'push_source_name'" in hint
