"""From errors to refusals: the status, the code and the words of every request that is not answered."""

from __future__ import annotations

import re
from typing import Final

from feast import errors as feast

from yummy_feast.errors import (
    ColumnNotFoundError,
    ColumnTypeError,
    ConfigError,
    EmbeddedServerError,
    FeatureNotFoundError,
    MissingExtraError,
    MissingJoinKeyError,
    OnlineRequestError,
    OnlineStoreError,
    RowDecodeError,
    ServerUnavailableError,
    SourceError,
    UnsupportedTableError,
    ValueTypeError,
    YummyError,
)
from yummy_feast.online.request import MissingRequestDataError
from yummy_feast.serving.http import RefusedError

# The first line that fits is the one that counts.
_OF_FEATURES: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (FeatureNotFoundError, 404, "FEATURE_NOT_FOUND"),
    (feast.FeatureServiceNotFoundException, 404, "FEATURE_SERVICE_NOT_FOUND"),
    (feast.FeatureViewNotFoundException, 404, "FEATURE_VIEW_NOT_FOUND"),
    (feast.OnDemandFeatureViewNotFoundException, 404, "FEATURE_VIEW_NOT_FOUND"),
    (feast.FeatureViewVersionNotFound, 404, "FEATURE_VIEW_VERSION_NOT_FOUND"),
    (feast.EntityNotFoundException, 404, "ENTITY_NOT_FOUND"),
    (feast.FeatureNameCollisionError, 422, "FEATURE_NAMES_COLLIDE"),
    # The code of an on-demand view, which the registry holds, needs a module that is not here.
    (ImportError, 503, "FEATURES_NOT_LOADABLE"),
    (Exception, 422, "INVALID_FEATURES"),
)
_OF_ENTITIES: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (MissingJoinKeyError, 422, "MISSING_JOIN_KEY"),
    (MissingRequestDataError, 422, "MISSING_REQUEST_DATA"),
    (OnlineRequestError, 422, "INVALID_ENTITIES"),
)
_OF_STORE: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (ServerUnavailableError, 503, "ONLINE_STORE_UNAVAILABLE"),
    (EmbeddedServerError, 503, "ONLINE_STORE_UNAVAILABLE"),
    (RowDecodeError, 503, "STORED_ROW_DAMAGED"),
    (OnlineStoreError, 503, "ONLINE_STORE_REFUSED"),
)
# Of the offline store, and of what materialization meets on the way from it.
_OF_SOURCES: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (ValueTypeError, 422, "INVALID_VALUES"),
    (ColumnNotFoundError, 422, "COLUMNS_DIFFER"),
    (ColumnTypeError, 422, "INVALID_VALUES"),
    (UnsupportedTableError, 422, "SOURCE_NOT_SUPPORTED"),
    (SourceError, 503, "OFFLINE_STORE_UNAVAILABLE"),
    *_OF_STORE,
    (ConfigError, 503, "SERVER_MISCONFIGURED"),
    (MissingExtraError, 503, "SERVER_MISCONFIGURED"),
    (YummyError, 422, "REFUSED"),
    *_OF_FEATURES[:-2],
    (feast.FeastError, 422, "REFUSED"),
)
CODES: Final = (
    "MALFORMED_JSON",
    "INVALID_BODY",
    "INVALID_HEADER",
    "BODY_TOO_LARGE",
    "BODY_TOO_SLOW",
    *dict.fromkeys(code for table in (_OF_FEATURES, _OF_ENTITIES, _OF_STORE) for _, _, code in table),
    "ON_DEMAND_FAILED",
    "REQUEST_TIMEOUT",
    "TOO_MANY_REQUESTS",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
)
"""Every code of a request that is not answered."""
_COLORS: Final = re.compile(r"\x1b\[[0-9;]*m")


def of_features(error: BaseException) -> RefusedError:
    """For features or a service that cannot be resolved."""
    return _refusal(error, _OF_FEATURES)


def of_entities(error: OnlineRequestError) -> RefusedError:
    """For entities that do not fit what is asked for."""
    return _refusal(error, _OF_ENTITIES)


def of_store(error: OnlineStoreError) -> RefusedError:
    """For rows that cannot be had."""
    return _refusal(error, _OF_STORE)


def of_damage(error: YummyError) -> RefusedError:
    """For stored values that cannot be read."""
    return RefusedError(503, "STORED_ROW_DAMAGED", error.message, error.hint)


def of_transformation(error: Exception, views: list[str]) -> RefusedError:
    """For what an on-demand view's own code raises, or answers that is not what it declares."""
    if isinstance(error, YummyError):
        return RefusedError(422, "ON_DEMAND_FAILED", error.message, error.hint)
    listed = ", ".join(map(repr, views))
    return RefusedError(
        422,
        "ON_DEMAND_FAILED",
        f"the transformation of on-demand feature view {listed} raised {type(error).__name__}: {plain(error)}",
        "does it expect these request data and features, nulls among them?",
    )


def of_offline(error: Exception) -> RefusedError:
    """For an offline store that does not take or give rows."""
    if isinstance(error, YummyError | feast.FeastError):
        return _refusal(error, _OF_SOURCES)
    return RefusedError(
        503, "OFFLINE_STORE_UNAVAILABLE", f"the offline store failed: {_named(error)}", "see the log of the server"
    )


def of_materialization(error: Exception) -> RefusedError:
    """For a materialization that failed, after whatever it had written until then."""
    refusal = (
        _refusal(error, _OF_SOURCES)
        if isinstance(error, YummyError | feast.FeastError)
        else RefusedError(
            503, "MATERIALIZATION_FAILED", f"the materialization failed: {_named(error)}", "see the log of the server"
        )
    )
    kept = "what was written stays, and materializing again mends the rest"
    refusal.hint = f"{refusal.hint}; {kept}" if refusal.hint else kept
    return refusal


def of_other_store(error: Exception) -> RefusedError:
    """For an online store that is not ours."""
    if isinstance(error, feast.FeastError):
        return of_features(error)
    return RefusedError(
        503, "ONLINE_STORE_UNAVAILABLE", f"the online store failed: {_named(error)}", "is it running and reachable?"
    )


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {plain(error)}"


def _refusal(error: BaseException, table: tuple[tuple[type[Exception], int, str], ...]) -> RefusedError:
    status, code = next((status, code) for kind, status, code in table if isinstance(error, kind))
    if isinstance(error, YummyError):
        return RefusedError(status, code, error.message, error.hint)
    return RefusedError(status, code, plain(error))


def plain(error: BaseException) -> str:
    """One line without the colors that Feast writes for terminals. A KeyError's text is in quotes of its own."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(_COLORS.sub("", text).split())
