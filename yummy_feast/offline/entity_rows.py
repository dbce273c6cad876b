"""Entity rows: which entities, as of when. They come as pandas, Arrow, Parquet, SQL or a Spark DataFrame and leave as
one table with one time column.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.errors import EntityRowsError, nearest
from yummy_feast.offline.plan import EVENT_TIMESTAMP
from yummy_feast.offline.times import MISSING, PER_SECOND, Int64s, instants, utc

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class SelectAll:
    """Every entity as of one moment; see ``select_all``."""

    timestamp: datetime


def select_all(timestamp: datetime) -> SelectAll:
    """Entity rows that stand for every entity of the views asked for, as of ``timestamp`` (no zone means UTC).

    For ``get_historical_features(entity_df=select_all(moment), ...)``.

    Raises:
        EntityRowsError: no datetime.
    """
    if not isinstance(timestamp, datetime):
        raise EntityRowsError(f"select_all({timestamp!r}): not a moment", hint="pass a datetime")
    return SelectAll(timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC))


class EntityRows:
    """Entity rows in Arrow, beside the pandas frame they came in (if they did), whose columns the answer gives back
    untouched.
    """

    def __init__(
        self, columns: dict[str, pa.ChunkedArray | pa.Array], time_column: str, frame: pd.DataFrame | None = None
    ) -> None:
        self._held = columns
        self.time_column = time_column
        self.frame = frame

    @property
    def _columns(self) -> dict[str, pa.ChunkedArray | pa.Array]:
        return self._held

    @property
    def time_unit(self) -> str:
        """Of ``times``: s, ms, us or ns."""
        return str(self._columns[self.time_column].type.unit)

    @cached_property
    def times(self) -> Int64s:
        """The entity times, ``MISSING`` where null; shape (rows,)."""
        return instants(self._columns[self.time_column])

    @classmethod
    def of_arrow(cls, table: pa.Table) -> EntityRows:
        """Entity rows from an Arrow table; its time column becomes UTC."""
        refuse_twins(table.column_names)
        name = time_column_of({field.name: pa.types.is_timestamp(field.type) for field in table.schema})
        kind = table.schema.field(name).type
        if not pa.types.is_timestamp(kind):
            raise EntityRowsError(f"entity column '{name}' holds {kind}, not timestamps", hint="cast it to a timestamp")
        columns = dict(zip(table.column_names, table.columns, strict=True))
        columns[name] = utc(columns[name])
        return cls(columns, name)

    @classmethod
    def of_pandas(cls, frame: pd.DataFrame) -> EntityRows:
        """Entity rows from pandas; columns Arrow cannot hold are carried along as they are."""
        import pandas as pd

        frame = frame.reset_index(drop=True)
        frame.columns = [str(name) for name in frame.columns]
        refuse_twins(list(frame.columns))
        is_time = {name: pd.api.types.is_datetime64_any_dtype(dtype) for name, dtype in frame.dtypes.items()}
        name = time_column_of(is_time)
        if not is_time[name]:
            frame = frame.assign(**{name: _parse_objects(frame[name])})
        elif frame[name].dt.tz is None:
            frame = frame.assign(**{name: frame[name].dt.tz_localize("UTC")})
        else:
            frame = frame.assign(**{name: frame[name].dt.tz_convert("UTC")})
        columns = {}
        for column in frame.columns:
            try:
                columns[column] = pa.Array.from_pandas(frame[column])
            except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
                continue
        return cls(columns, name, frame)

    def __len__(self) -> int:
        return len(self.times)

    @property
    def names(self) -> list[str]:
        """Columns, in order."""
        return list(self._columns) if self.frame is None else list(self.frame.columns)

    def column(self, name: str) -> pa.ChunkedArray | pa.Array:
        """One column.

        Raises:
            EntityRowsError: Arrow cannot hold it.
        """
        if name not in self._columns:
            raise EntityRowsError(
                f"entity column '{name}' holds values of several types",
                hint="give the column one type, or ask with to_df()",
            )
        return self._columns[name]

    def table(self, *, partial: bool = False) -> pa.Table:
        """All columns; with ``partial`` those that Arrow cannot hold are left out instead of refused."""
        names = [name for name in self.names if name in self._columns] if partial else self.names
        return pa.table({name: self.column(name) for name in names})

    def span(self) -> tuple[datetime | None, datetime | None]:
        """Oldest and newest entity time, UTC."""
        real = self.times[self.times != MISSING]
        if not len(real):
            return None, None
        return moment(int(real.min()), self.time_unit), moment(int(real.max()), self.time_unit)


def time_column_of(columns: dict[str, bool]) -> str:
    """The entity rows' time column: ``event_timestamp``, else the only one that holds timestamps. columns: name ->
    holds timestamps.

    Raises:
        EntityRowsError: there is none, or more than one.
    """
    if EVENT_TIMESTAMP in columns:
        return EVENT_TIMESTAMP
    found = [name for name, is_time in columns.items() if is_time]
    if len(found) != 1:
        what = f"several time columns ({', '.join(found)})" if found else "no time column"
        raise EntityRowsError(
            f"the entity rows have {what} and none named '{EVENT_TIMESTAMP}'", hint=nearest(EVENT_TIMESTAMP, columns)
        )
    return found[0]


def refuse_twins(names: list[str]) -> None:
    """EntityRowsError for two columns of one name."""
    for position, name in enumerate(names):
        if name in names[:position]:
            raise EntityRowsError(f"the entity rows have two columns named '{name}'", hint="rename one of them")


def distinct(tables: list[pa.Table]) -> pa.Table:
    """The distinct rows of tables with the same columns, in the order of their first appearance."""
    whole = pa.concat_tables(tables, promote_options="permissive")
    return whole.group_by(whole.column_names, use_threads=False).aggregate([])


def drop_null_rows(table: pa.Table) -> pa.Table:
    """Rows without any null."""
    keep = None
    for column in table.columns:
        valid = pc.is_valid(column)
        keep = valid if keep is None else pc.and_(keep, valid)
    return table if keep is None else table.filter(keep)


def _parse_objects(column: Any) -> Any:
    """Python datetimes (perhaps in several zones) as one UTC column; text is refused, because guessing its format
    leaks or loses rows.
    """
    import pandas as pd

    present = column.dropna()
    if not all(isinstance(value, datetime) for value in present):
        odd = next(value for value in present if not isinstance(value, datetime))
        raise EntityRowsError(
            f"entity column '{column.name}' holds {type(odd).__name__} ({odd!r}), not timestamps",
            hint=f"convert it first: pd.to_datetime(df['{column.name}'], utc=True)",
        )
    try:
        return pd.to_datetime(column, utc=True)
    except pd.errors.OutOfBoundsDatetime:
        # "The end of time" does not fit nanoseconds; datetimes have no more than microseconds anyway.
        aware = [None if pd.isna(value) else value if value.tzinfo else value.replace(tzinfo=UTC) for value in column]
        return pa.array(aware, pa.timestamp("us", "UTC")).to_pandas().rename(column.name)


def moment(value: int, unit: str) -> datetime:
    """An instant in ``unit``. Python's calendar ends: before the year 1 and after 9999 it is the last it knows."""
    per = PER_SECOND[unit]
    seconds, rest = divmod(value, per)
    try:
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1_000_000 // per)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC) if value > 0 else datetime.min.replace(tzinfo=UTC)
