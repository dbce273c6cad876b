"""The body of a request for online features, decoded and checked; no socket is touched here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from yummy_feast.errors import nearest
from yummy_feast.serving.http import RefusedError


class FeaturesRequest(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /get-online-features`` as Feast's server takes it.

    entities: request column -> one value per row: join keys, and the request data of on-demand views.
    """

    entities: dict[str, list[Any]]
    feature_service: str | None = None
    features: list[str] | None = None
    full_feature_names: bool = False
    include_feature_view_version_metadata: bool = False


class Selection(NamedTuple):
    """What is asked for, without the rows: what a plan is compiled for and found by."""

    feature_service: str | None
    features: tuple[str, ...]
    full_feature_names: bool


_Request = TypeVar("_Request", bound=FeaturesRequest)
_decode: Final = msgspec.json.Decoder(FeaturesRequest).decode
_FIELDS: Final = FeaturesRequest.__struct_fields__
_UNKNOWN: Final = "Object contains unknown field `"


def decode(body: bytes) -> FeaturesRequest:
    """The request in ``body``. RefusedError (422) that says where it is wrong."""
    return decode_with(_decode, body)


def decode_with(decoder: Callable[[bytes], _Request], body: bytes) -> _Request:
    """``decode`` with a decoder for another reading of the same body."""
    try:
        return decoder(body)
    except msgspec.ValidationError as error:
        text = str(error)
        hint = 'send {"entities": {"<join key>": [...]}, "features": ["view:feature"]}, or "feature_service"'
        if text.startswith(_UNKNOWN):
            hint = nearest(text.removeprefix(_UNKNOWN).partition("`")[0], _FIELDS)
        raise RefusedError(422, "INVALID_BODY", text, hint) from None
    # Text that is no UTF-8, and nesting without end.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(422, "MALFORMED_JSON", f"the body is not JSON: {error}", "send a JSON object") from None


def selection_of(request: FeaturesRequest) -> Selection:
    """What ``request`` asks for. RefusedError (422) for nothing, and for both a service and features."""
    service, features = request.feature_service, request.features
    if service:
        if features:
            raise RefusedError(
                422,
                "INVALID_FEATURES",
                f"both feature_service {service!r} and {len(features)} features were asked for",
                "send one of the two",
            )
        return Selection(service, (), request.full_feature_names)
    if not features:
        raise RefusedError(
            422,
            "INVALID_FEATURES",
            "no features were asked for",
            "send features as a list of 'feature_view:feature', or the name of a feature_service",
        )
    return Selection(None, tuple(features), request.full_feature_names)
