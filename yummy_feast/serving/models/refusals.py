"""From errors to refusals in MLflow's words: ``{"error_code", "message"}``."""

from __future__ import annotations

from typing import Final

import msgspec

from yummy_feast.errors import ModelInputError, SignatureError, YummyError
from yummy_feast.serving.http import RefusedError

BAD_REQUEST: Final = "BAD_REQUEST"
INVALID: Final = "INVALID_PARAMETER_VALUE"
CODES: Final = (
    BAD_REQUEST,
    INVALID,
    "UNSUPPORTED_MEDIA_TYPE",
    "MODEL_NOT_FOUND",
    "MISSING_FEATURES",
    "FEATURES_UNAVAILABLE",
    "SCORING_FAILED",
    "BODY_TOO_LARGE",
    "BODY_TOO_SLOW",
    "REQUEST_TIMEOUT",
    "TOO_MANY_REQUESTS",
)
"""Every code of a request that is not answered."""


def body_of(refused: RefusedError) -> bytes:
    """What a client of MLflow expects of a request that is not answered."""
    message = f"{refused.message} ({refused.hint})" if refused.hint else refused.message
    return msgspec.json.encode({"error_code": refused.code, "message": message})


def bad_request(message: str, hint: str = "") -> RefusedError:
    """A body that is not what it should be."""
    return RefusedError(400, BAD_REQUEST, message, hint)


def of_input(error: YummyError) -> RefusedError:
    """For rows that the model cannot score."""
    if isinstance(error, SignatureError):
        return RefusedError(400, INVALID, error.message, error.hint)
    if isinstance(error, ModelInputError):
        return RefusedError(400, BAD_REQUEST, error.message, error.hint)
    return RefusedError(500, "SCORING_FAILED", error.message, error.hint)


def of_features(refused: RefusedError) -> RefusedError:
    """For features that cannot be had: the client's mistakes stay its own."""
    if refused.status >= 500:
        return RefusedError(refused.status, "FEATURES_UNAVAILABLE", refused.message, refused.hint)
    return RefusedError(400, INVALID, refused.message, refused.hint)
