"""Entity rows that live in Spark and come to the driver only when somebody asks for them as a table."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from yummy_feast.errors import EntityRowsError
from yummy_feast.offline.entity_rows import EntityRows, moment, refuse_twins, time_column_of
from yummy_feast.offline.times import utc
from yummy_feast.spark.arrow_rows import fetched
from yummy_feast.spark.columns import carried, column_of
from yummy_feast.spark.failures import spark_errors
from yummy_feast.spark.kept import computed

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType


def is_spark_frame(given: Any) -> bool:
    """Whether it is a DataFrame of Spark's, classic or Connect."""
    return any(
        kind.__module__.startswith("pyspark.sql") and kind.__name__ == "DataFrame" for kind in type(given).__mro__
    )


class FrameRows(EntityRows):
    """A Spark DataFrame as entity rows. The engine ``spark`` leaves it where it is; to any other it is a table.

    It is computed once, see ``rows``, and not once per question: SQL with a LIMIT, say, answers differently each time.

    Raises:
        EntityRowsError: two columns of one name, or no time column.
    """

    def __init__(self, rows: DataFrame) -> None:
        from pyspark.sql import types as T  # noqa: N812

        refuse_twins(rows.columns)
        kinds = {field.name: field.dataType for field in rows.schema.fields}
        is_time = {name: isinstance(kind, T.TimestampType | T.TimestampNTZType) for name, kind in kinds.items()}
        name = time_column_of(is_time)
        if not is_time[name]:
            raise EntityRowsError(
                f"entity column '{name}' holds {kinds[name].simpleString()}, not timestamps",
                hint="cast it to a timestamp",
            )
        self._hold(rows, name)

    def _hold(self, rows: DataFrame, time_column: str) -> None:
        self._given = rows
        super().__init__({}, time_column)

    @classmethod
    def computed(cls, rows: DataFrame) -> FrameRows:
        """Rows that are computed now, so that what Spark raises comes out here and as it is."""
        found = cls(rows)
        found.rows = computed(rows)
        return found

    @property
    def session(self) -> SparkSession:
        """Of the DataFrame."""
        return self._given.sparkSession

    @cached_property
    def rows(self) -> DataFrame:
        """The rows, computed when they are asked for first and kept for every frame that is made of them."""
        with spark_errors("the entity rows"):
            return computed(self._given)

    @property
    def time_unit(self) -> str:
        """Spark's."""
        return "us"

    @property
    def _columns(self) -> dict[str, pa.ChunkedArray | pa.Array]:
        if not self._held:
            with spark_errors("the entity rows"):
                table = fetched(self.rows)
            self._held = {name: zoned(table.column(name)) for name in table.column_names}
            self._held[self.time_column] = utc(self._held[self.time_column])
        return self._held

    def __len__(self) -> int:
        return self.measured()[0]

    @property
    def names(self) -> list[str]:
        """Columns, in order."""
        return list(self._given.columns)

    def kind(self, name: str) -> pa.DataType:
        """The Arrow type of a column.

        Raises:
            EntityRowsError: Arrow has none.
        """
        from pyspark.errors import PySparkException
        from pyspark.sql.pandas.types import to_arrow_type

        found = self._spark_type(name)
        try:
            return to_arrow_type(found)
        except PySparkException as error:
            raise EntityRowsError(
                f"entity column '{name}' holds {found.simpleString()}, which cannot be a join key",
                hint="use text, whole numbers or timestamps",
            ) from error

    def row_number(self) -> Column:
        """A long by which the rows are in order."""
        from pyspark.sql import functions as F  # noqa: N812

        return F.monotonically_increasing_id()

    def instants(self) -> Column:
        """The entity times as longs in ``time_unit``."""
        return carried(column_of(self.time_column), self._spark_type(self.time_column), pa.timestamp("us", "UTC"))

    def key_column(self, name: str) -> Column:
        """A column in the carrier of ``kind(name)``."""
        return carried(column_of(name), self._spark_type(name), self.kind(name))

    def user_column(self, name: str) -> Column:
        """A column as it travels to come back in the answer: an entity time without a zone as one in UTC."""
        from pyspark.sql import functions as F  # noqa: N812
        from pyspark.sql import types as T  # noqa: N812

        if name == self.time_column and isinstance(self._spark_type(name), T.TimestampNTZType):
            return F.timestamp_micros(self.instants())
        return column_of(name)

    def shown(self, travelled: Column, name: str) -> Column:
        """A user column in an answer that stays in Spark."""
        from pyspark.sql import types as T  # noqa: N812

        # Files have no column without a type.
        return travelled.cast("tinyint") if isinstance(self._spark_type(name), T.NullType) else travelled

    def brought(self, travelled: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
        """A user column in an answer that came here."""
        return zoned(travelled)

    def _spark_type(self, name: str) -> DataType:
        return self._given.schema[name].dataType

    @cached_property
    def _measured(self) -> tuple[int, int | None, int | None]:
        from pyspark.sql import functions as F  # noqa: N812

        time = self.instants()
        with spark_errors("the entity rows"):
            count, low, high = self.rows.agg(F.count(F.lit(1)), F.min(time), F.max(time)).collect()[0]
        return count, low, high

    def measured(self) -> tuple[int, int | None, int | None]:
        """How many rows, and the oldest and newest time in ``time_unit``: a small Spark job, once."""
        return self._measured

    def span(self) -> tuple[datetime | None, datetime | None]:
        """Oldest and newest entity time, UTC."""
        _, low, high = self.measured()
        unit = self.time_unit
        return (None, None) if low is None or high is None else (moment(low, unit), moment(high, unit))


def zoned(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Instants that Spark shows in the session's zone in UTC; everything else, times without a zone too, as it is."""
    return utc(column) if getattr(column.type, "tz", None) else column
