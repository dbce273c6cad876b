"""Bodies of every request but those for features: what Feast's server takes, decoded and checked; no socket here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec

from yummy_feast.errors import nearest
from yummy_feast.serving.http import RefusedError

_T = TypeVar("_T", bound=msgspec.Struct)
_UNKNOWN: Final = "Object contains unknown field `"


class PushRequest(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /push``: rows for every feature view of a push source.

    df: column -> one value per row. to: which stores. allow_registry_cache: whether a registry that is some seconds
    old will do. transform_on_write: whether on-demand feature views that are written are computed from the rows.
    """

    push_source_name: str
    df: dict[str, Any]
    allow_registry_cache: bool = True
    to: Literal["online", "offline", "online_and_offline"] = "online"
    transform_on_write: bool = True


class WriteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /write-to-online-store``: rows for one feature view."""

    feature_view_name: str
    df: dict[str, Any]
    allow_registry_cache: bool = True
    transform_on_write: bool = True


class MaterializeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /materialize``: the newest row per key with event timestamps from start_ts to end_ts, both included.

    feature_views: all that are served online if left out. disable_event_timestamp: everything there is, whatever the
    range. version: of the single feature view, such as ``v2``.
    """

    start_ts: str | None = None
    end_ts: str | None = None
    feature_views: list[str] | None = None
    disable_event_timestamp: bool = False
    full_feature_names: bool = False
    version: str | None = None


class MaterializeIncrementalRequest(msgspec.Struct, forbid_unknown_fields=True):
    """``POST /materialize-incremental``: what is new since each feature view's last run, up to end_ts."""

    end_ts: str
    feature_views: list[str] | None = None
    full_feature_names: bool = False
    version: str | None = None


def decode(body: bytes, kind: type[_T]) -> _T:
    """The request in ``body``. RefusedError (422) that says where it is wrong.

    NaN is no JSON, but what Python's encoder writes for a missing number: it is read, as null.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _invalid(error, kind) from None
    # Text that is no UTF-8, and nesting without end.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = _lenient(body)
        if found is None:
            raise RefusedError(422, "MALFORMED_JSON", f"the body is not JSON: {error}", "send a JSON object") from None
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise _invalid(error, kind) from None


def _invalid(error: msgspec.ValidationError, kind: type[msgspec.Struct]) -> RefusedError:
    text, fields = str(error), kind.__struct_fields__
    hint = f"the fields are {', '.join(fields)}; see /docs"
    if text.startswith(_UNKNOWN):
        hint = nearest(text.removeprefix(_UNKNOWN).partition("`")[0], fields)
    return RefusedError(422, "INVALID_BODY", text, hint)


def _lenient(body: bytes) -> Any:
    """As Python's own decoder reads it, with null for NaN; None if it cannot either."""
    try:
        return _without_nan(json.loads(body))
    except (ValueError, RecursionError):
        return None


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    return value
