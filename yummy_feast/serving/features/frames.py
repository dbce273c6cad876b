"""The ``df`` of a body: checked columns, and from them the rows of a feature view as an online store takes them.

Pure; neither pandas nor Arrow is asked, which would make floats of integers beside a null and one struct of many maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from yummy_feast.errors import ValueTypeError, nearest
from yummy_feast.serving.features import cells
from yummy_feast.serving.http import RefusedError

if TYPE_CHECKING:
    import pandas as pd
    from feast.data_source import DataSource
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

Columns: TypeAlias = dict[str, list[Any]]
Row: TypeAlias = tuple["EntityKey", dict[str, "Value"], datetime, datetime | None]
"""One row as ``OnlineStore.online_write_batch`` takes it."""

_NO_JOIN_KEY: Final = "__dummy_id"
# How Feast's remote online store names the two, whatever the view calls them.
_EVENT, _CREATED = "event_timestamp", "created"


def columns_of(df: Mapping[str, Any]) -> Columns:
    """Column -> values, of one length.

    A column is a list, or what ``DataFrame.to_dict()`` writes, an object of row label -> value; a single value stands
    for all rows. RefusedError (422) for anything else.
    """
    lists: dict[str, Sequence[Any]] = {name: column for name, column in df.items() if isinstance(column, list)}
    labelled = {name: column for name, column in df.items() if isinstance(column, dict)}
    if labelled:
        labels = list(next(iter(labelled.values())))
        odd = next((name for name, column in labelled.items() if lists or list(column) != labels), None)
        if odd is not None:
            raise RefusedError(
                422, "RAGGED_COLUMNS", f"column {odd!r} has other rows than the rest", "send every column as a list"
            )
        lists = {name: list(column.values()) for name, column in labelled.items()}
    lengths = {name: len(column) for name, column in lists.items()}
    if len(set(lengths.values())) > 1:
        (one, rows), (other, others) = _differing(lengths)
        raise RefusedError(
            422,
            "RAGGED_COLUMNS",
            f"column {one!r} has {rows} rows, column {other!r} has {others}",
            "send one value per row in every column",
        )
    length = next(iter(lengths.values()), 0)
    if not length:
        raise RefusedError(
            422, "NO_ROWS", "df has no rows", 'send columns as lists: {"df": {"<join key>": [1, 2], ...}}'
        )
    return {name: list(lists[name]) if name in lists else [df[name]] * length for name in df}


def _differing(lengths: dict[str, int]) -> list[tuple[str, int]]:
    (one, rows), *rest = lengths.items()
    return [(one, rows), next(item for item in rest if item[1] != rows)]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a view's rows need: columns of join keys and features with their types, and the names of the timestamps.

    mapping: column of the source -> the name that Feast knows it by.
    """

    view: str
    join_keys: dict[str, Any]
    features: dict[str, Any]
    event: str
    created: str | None
    mapping: dict[str, str]

    @classmethod
    def of(cls, view: Any) -> Shape:
        """Of a feature view, stream feature view or label view. RefusedError (422) for one without a batch source."""
        source: DataSource | None = view.batch_source
        if source is None:
            raise RefusedError(
                422,
                "VIEW_NOT_WRITABLE",
                f"feature view {view.name!r} has no batch source, so nothing says which column is its event timestamp",
                "give it a source with a timestamp_field",
            )
        return cls(
            view.name,
            {field.name: field.dtype.to_value_type() for field in view.entity_columns},
            {field.name: field.dtype.to_value_type() for field in view.features},
            source.timestamp_field or _EVENT,
            source.created_timestamp_column or None,
            dict(source.field_mapping or {}),
        )


def rows_of(shape: Shape, columns: Columns) -> list[Row]:
    """The rows of ``columns`` for a view. RefusedError (422) that names the view and what does not fit it."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

    named = _named(shape, columns)
    length = len(next(iter(named.values())))
    keys = {name: _values(shape, "join key", name, named[name], kind) for name, kind in shape.join_keys.items()}
    for name in keys:
        _refuse_nulls(shape, f"join key {name!r}", named[name])
    features = {name: _values(shape, "feature", name, named[name], kind) for name, kind in shape.features.items()}
    _refuse_nulls(shape, f"event timestamp {shape.event!r}", named[shape.event])
    events = _moments(shape, shape.event, named[shape.event])
    created = _moments(shape, shape.created, named[shape.created]) if shape.created in named else [None] * length
    names = list(keys)
    return [
        (
            EntityKey(join_keys=names, entity_values=[values[row] for values in keys.values()]),
            {name: values[row] for name, values in features.items()},
            moment,
            created[row],
        )
        for row, moment in enumerate(events)
        if moment is not None
    ]


def offline_frame(shape: Shape, columns: Columns) -> pd.DataFrame:
    """The same columns for the offline store: points in time parsed, everything else as it came. RefusedError (422)."""
    import pandas as pd

    renamed = _with_timestamps(shape, columns)
    _refuse_missing(shape, [shape.event], renamed)
    _refuse_nulls(shape, f"event timestamp {shape.event!r}", renamed[shape.event])
    # Of objects, so that integers beside a null stay integers.
    frame = pd.DataFrame(renamed, dtype=object)
    for name in (shape.event, shape.created):
        if name in renamed:
            frame[name] = pd.Series(pd.DatetimeIndex(_moments(shape, name, renamed[name]), dtype="datetime64[us, UTC]"))
    return frame


def _named(shape: Shape, columns: Columns) -> Columns:
    """The columns under Feast's names, all that are needed among them."""
    renamed = {
        shape.mapping[name] if shape.mapping.get(name, name) not in columns else name: values
        for name, values in columns.items()
    }
    renamed = _with_timestamps(shape, renamed)
    if _NO_JOIN_KEY in shape.join_keys:
        renamed.setdefault(_NO_JOIN_KEY, [""] * len(next(iter(renamed.values()))))
    _refuse_missing(shape, [*shape.join_keys, *shape.features, shape.event], renamed)
    return renamed


def _with_timestamps(shape: Shape, columns: Columns) -> Columns:
    """Timestamps may also come as Feast's remote online store names them."""
    used = {*shape.join_keys, *shape.features}
    names = {}
    if shape.event not in columns and _EVENT not in used:
        names[_EVENT] = shape.event
    if shape.created is not None and shape.created not in columns and _CREATED not in used:
        names[_CREATED] = shape.created
    return {names.get(name, name): values for name, values in columns.items()}


def _refuse_missing(shape: Shape, wanted: Sequence[str], columns: Columns) -> None:
    for name in wanted:
        if name in columns:
            continue
        what, code = ("feature", "MISSING_COLUMN")
        if name in shape.join_keys:
            what, code = "join key", "MISSING_JOIN_KEY"
        elif name == shape.event and name not in shape.features:
            what, code = "event timestamp", "MISSING_TIMESTAMP"
        raise RefusedError(
            422,
            code,
            f"feature view {shape.view!r} needs its {what} as column {name!r} of df",
            nearest(name, [column for column in columns if column not in wanted] or columns),
        )


def _refuse_nulls(shape: Shape, what: str, values: Sequence[Any]) -> None:
    for row, value in enumerate(values):
        if value is None:
            raise RefusedError(
                422,
                "INVALID_VALUES",
                f"feature view {shape.view!r}: row {row}: {what} is null",
                "a row without it belongs nowhere: leave it out",
            )


def _values(shape: Shape, what: str, name: str, values: Sequence[Any], kind: Any) -> list[Value]:
    try:
        return cells.messages(f"{what} {name!r}", kind, values)
    except ValueTypeError as error:
        raise _unfit(shape, error) from error


def _moments(shape: Shape, name: str, values: Sequence[Any]) -> list[datetime | None]:
    try:
        return cells.moments(f"timestamp {name!r}", values, optional=name == shape.created)
    except ValueTypeError as error:
        raise _unfit(shape, error) from error


def _unfit(shape: Shape, error: ValueTypeError) -> RefusedError:
    return RefusedError(422, "INVALID_VALUES", f"feature view {shape.view!r}: {error.message}", error.hint)
