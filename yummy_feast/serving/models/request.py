"""The JSON of a request for predictions, decoded; no socket is touched here.

One pass makes a ``Body``, in which the rows of a split are lists and its names are still text: the same names come with
each request, and what they mean is looked up by that text. Whatever does not fit takes a longer way to its error.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from yummy_feast.serving.models.refusals import bad_request

FORMS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
_ONE_OF: Final = f"The input must be a JSON dictionary with exactly one of the input fields {list(FORMS)}"
# So many bytes are decoded in some tenths of a millisecond, during which no other thread runs.
PIECE: Final = 64_000


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """Rows, and perhaps the names of their columns."""

    data: list[list[Any]]
    columns: Raw = Raw(b"null")
    index: Any = None


class Body(msgspec.Struct):
    """What a client sends: exactly one form of rows. Other keys are passed over, as by MLflow.

    columns, data: the short form, which the first yummy had.
    entities, overrides, return_features, on_missing: the form that fetches features.
    """

    dataframe_split: Split | UnsetType = UNSET
    dataframe_records: Any = UNSET
    instances: Any = UNSET
    inputs: Any = UNSET
    params: Any = None
    columns: Raw | UnsetType = UNSET
    data: list[list[Any]] | UnsetType = UNSET
    entities: dict[str, list[Any]] | UnsetType = UNSET
    overrides: dict[str, Any] = {}
    return_features: bool = False
    on_missing: str = ""

    @property
    def forms(self) -> list[str]:
        """The forms that are there."""
        return [form for form in FORMS if getattr(self, form) is not UNSET]


_decode: Final = msgspec.json.Decoder(Body).decode
_decode_names: Final = msgspec.json.Decoder(list[str | int | float] | None).decode


def decode(body: bytes) -> Body:
    """The request in ``body``. RefusedError (400) that says where it is wrong."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # NaN and Infinity, which MLflow takes, are no JSON to msgspec.
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"Ensure that input is a valid JSON formatted string: {error}") from None
    if not isinstance(document, dict):
        raise bad_request(f"{_ONE_OF}. Received a {type(document).__name__}")
    return _converted(document)


def _converted(document: dict[str, Any]) -> Body:
    short = document.keys() & {"columns", "data"}
    split = document if short and not document.keys() & set(FORMS) else document.get("dataframe_split", UNSET)
    if split is not UNSET:
        parts = _split(split, split is document)
        if split is document:
            return Body(columns=parts.columns, data=parts.data)
        document = {**document, "dataframe_split": UNSET}
        rest = _convert(document)
        rest.dataframe_split = parts
        return rest
    return _convert(document)


def _convert(document: dict[str, Any]) -> Body:
    known = {key: value for key, value in document.items() if key in Body.__struct_fields__ and value is not UNSET}
    for key in ("columns", "data"):
        known.pop(key, None)
    try:
        return msgspec.convert(known, Body)
    except (msgspec.ValidationError, RecursionError) as error:
        raise bad_request(str(error)) from None


def _split(split: Any, is_short: bool) -> Split:
    if not isinstance(split, dict):
        raise bad_request(f"Dataframe split format must be a dictionary. Got {type(split).__name__}")
    keys = set(split)
    if "data" not in keys or (not is_short and keys - {"columns", "data", "index"}):
        raise bad_request(
            "Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields. "
            f"Got {sorted(map(str, keys))}"
        )
    data = split["data"]
    if not isinstance(data, list):
        raise bad_request(f"data is a {type(data).__name__}", hint="send a list of rows, each a list of values")
    # One column may come without a list around each of its values.
    rows = [row if isinstance(row, list) else [row] for row in data]
    return Split(rows, Raw(msgspec.json.encode(split.get("columns"))), split.get("index"))


def names_of(columns: Raw) -> list[str] | None:
    """The names in a split's ``columns``, as text; None without any."""
    try:
        names = _decode_names(columns)
    except msgspec.DecodeError as error:
        raise bad_request(f"columns: {error}", "send a list of names") from None
    return None if names is None else [str(name) for name in names]


def only_form(body: Body) -> str:
    """Which of MLflow's forms of rows is there. RefusedError (400) for none or several."""
    forms = body.forms
    if len(forms) != 1:
        raise bad_request(f"{_ONE_OF}. Received {forms or 'none of them'}")
    return forms[0]


# ------------------------------------------------------------------------------------------------- large bodies


class LargeSplit(msgspec.Struct, forbid_unknown_fields=True):
    """A split whose rows are not decoded yet."""

    data: list[Raw]
    columns: Raw = Raw(b"null")
    index: Any = None


class LargeBody(msgspec.Struct):
    """A body whose rows are not decoded yet, so that they can be in pieces."""

    dataframe_split: LargeSplit | UnsetType = UNSET
    dataframe_records: list[Raw] | UnsetType = UNSET
    instances: Raw | UnsetType = UNSET
    inputs: Raw | UnsetType = UNSET
    params: Any = None
    columns: Raw | UnsetType = UNSET
    data: list[Raw] | UnsetType = UNSET
    entities: dict[str, Raw] | UnsetType = UNSET
    overrides: Raw | UnsetType = UNSET
    return_features: bool = False
    on_missing: str = ""


_decode_large: Final = msgspec.json.Decoder(LargeBody).decode
_decode_raws: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_rows: Final = msgspec.json.Decoder(list[list[Any]]).decode
_decode_records: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode


def decode_large(body: bytes) -> Body:
    """As ``decode``, in pieces between which other threads run. For a thread of its own."""
    try:
        large = _decode_large(body)
        if large.entities is not UNSET or large.overrides is not UNSET:
            return decode(body)
        whole = Body(params=large.params, columns=large.columns)
        if large.dataframe_split is not UNSET:
            split = large.dataframe_split
            whole.dataframe_split = Split(_in_pieces(split.data, _decode_rows), split.columns, split.index)
        if large.data is not UNSET:
            whole.data = _in_pieces(large.data, _decode_rows)
        if large.dataframe_records is not UNSET:
            whole.dataframe_records = _in_pieces(large.dataframe_records, _decode_records)
        for form in ("instances", "inputs"):
            raw = getattr(large, form)
            if raw is not UNSET:
                setattr(whole, form, _array(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode(body)
    return whole


def _array(raw: Raw) -> Any:
    text = bytes(raw)
    if not text.startswith(b"["):
        return msgspec.json.decode(text)
    return _in_pieces(_decode_raws(text), msgspec.json.decode)


def _in_pieces(raws: Sequence[Raw], decoder: Callable[[bytes], list[Any]]) -> list[Any]:
    found: list[Any] = []
    for piece in _pieces(raws):
        found += decoder(piece)
        # Whoever waits for its turn has it now.
        time.sleep(0)
    return found


def _pieces(raws: Sequence[Raw]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for raw in raws:
        part = bytes(raw)
        waiting.append(part)
        size += len(part)
        if size >= PIECE:
            yield b"[" + b",".join(waiting) + b"]"
            waiting, size = [], 0
    if waiting:
        yield b"[" + b",".join(waiting) + b"]"


def check_index(split: Split) -> None:
    """Raise RefusedError (400) for an index that does not go with the rows."""
    if split.index is not None and (not isinstance(split.index, list) or len(split.index) != len(split.data)):
        raise bad_request("Length mismatch: index and data have different numbers of rows")
