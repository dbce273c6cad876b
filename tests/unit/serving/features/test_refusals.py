"""Every error becomes a status and a code that programs can rely on."""

from __future__ import annotations

import pytest
from feast import errors as feast

from yummy_feast import errors as ours
from yummy_feast.online.request import missing_join_key, missing_request_data
from yummy_feast.serving.features import refusals


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ours.FeatureNotFoundError("x"), 404, "FEATURE_NOT_FOUND"),
        (feast.FeatureServiceNotFoundException("s", "p"), 404, "FEATURE_SERVICE_NOT_FOUND"),
        (feast.FeatureViewNotFoundException("v", "p"), 404, "FEATURE_VIEW_NOT_FOUND"),
        (feast.OnDemandFeatureViewNotFoundException("v", "p"), 404, "FEATURE_VIEW_NOT_FOUND"),
        (feast.FeatureViewVersionNotFound("v", "v2", "p"), 404, "FEATURE_VIEW_VERSION_NOT_FOUND"),
        (feast.EntityNotFoundException("e", "p"), 404, "ENTITY_NOT_FOUND"),
        (feast.FeatureNameCollisionError(["a:x", "b:x"], False), 422, "FEATURE_NAMES_COLLIDE"),
        (ModuleNotFoundError("No module named 'lib'"), 503, "FEATURES_NOT_LOADABLE"),
        (ours.OnlineRequestError("x"), 422, "INVALID_FEATURES"),
        (ValueError("Feature view 'v' is disabled"), 422, "INVALID_FEATURES"),
        (KeyError("x"), 422, "INVALID_FEATURES"),
    ],
)
def test_features(error: Exception, status: int, code: str) -> None:
    refused = refusals.of_features(error)
    assert (refused.status, refused.code) == (status, code)


def test_entities() -> None:
    assert refusals.of_entities(missing_join_key("k", ("j",), ["v"])).code == "MISSING_JOIN_KEY"
    assert refusals.of_entities(missing_request_data(["d"], ("k",))).code == "MISSING_REQUEST_DATA"
    other = refusals.of_entities(ours.OnlineRequestError("what", hint="how"))
    assert (other.status, other.code, other.message, other.hint) == (422, "INVALID_ENTITIES", "what", "how")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ours.ServerUnavailableError("x"), "ONLINE_STORE_UNAVAILABLE"),
        (ours.EmbeddedServerError("x"), "ONLINE_STORE_UNAVAILABLE"),
        (ours.RowDecodeError("x"), "STORED_ROW_DAMAGED"),
        (ours.OnlineStoreError("x"), "ONLINE_STORE_REFUSED"),
    ],
)
def test_the_store(error: ours.OnlineStoreError, code: str) -> None:
    refused = refusals.of_store(error)
    assert (refused.status, refused.code) == (503, code)
    assert refusals.of_damage(ours.ValueTypeError("x")).code == "STORED_ROW_DAMAGED"


def test_transformations() -> None:
    raised = refusals.of_transformation(ZeroDivisionError("by zero"), ["ratio"])
    assert (raised.status, raised.code) == (422, "ON_DEMAND_FAILED")
    assert "on-demand feature view 'ratio' raised ZeroDivisionError: by zero" in raised.message
    ours_is_said = refusals.of_transformation(ours.OnlineStoreError("'ratio' did not return 'x'"), ["ratio"])
    assert ours_is_said.message == "'ratio' did not return 'x'"


def test_messages_are_one_line_in_black_and_white() -> None:
    assert refusals.of_features(ValueError("a\n\x1b[1m b\x1b[0m")).message == "a b"
    assert refusals.of_features(KeyError("x")).message == "x"
