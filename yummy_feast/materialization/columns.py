"""What is read for a feature view and what is written: the source's columns under Feast's names, in declared types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from yummy_feast.errors import RetrievalError, ValueTypeError
from yummy_feast.offline.conform import conform
from yummy_feast.offline.plan import source_names
from yummy_feast.sources.adapt import as_yummy_source
from yummy_feast.values import arrow_type_of

if TYPE_CHECKING:
    from feast import FeatureView

    from yummy_feast.sources.base import YummySource

# Packing has a price per batch, and an incremental run picks a few rows from each of many pieces: they are gathered
# to this many rows, or bytes where rows are wide.
_ROWS = 16 * 1024
_BYTES = 16 * 1024 * 1024
# The first rows are few, so that the server has work while the next ones, a few times as many, are packed.
_FIRST_ROWS = 1024
_GROWTH = 3


@dataclass(frozen=True, slots=True)
class ViewColumns:
    """What is read for a view. stored: from Feast's name to the source's column, each once; time, created: Feast's
    names of the timestamps.
    """

    view: FeatureView
    source: YummySource
    stored: dict[str, str]
    time: str
    created: str | None

    @classmethod
    def of(cls, view: FeatureView) -> ViewColumns:
        """RetrievalError for a view without a batch source."""
        source = view.batch_source
        if source is None:
            raise RetrievalError(
                f"feature view '{view.name}' has no batch source", hint="give it one to materialize from"
            )
        created = source.created_timestamp_column or None
        # An entityless view has the join key ``__dummy_id``, which no source has.
        names = (*view.join_keys, *(field.name for field in view.features), source.timestamp_field, created)
        mapped = source_names(view)
        stored = {name: mapped.get(name, name) for name in names if name}
        return cls(view, as_yummy_source(source), stored, source.timestamp_field, created)

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The source's columns of the join keys; none for a view without entities."""
        return tuple(self.stored[name] for name in self.view.join_keys if name != "__dummy_id")

    @property
    def features(self) -> tuple[str, ...]:
        """The source's columns of the features."""
        return tuple(self.stored[field.name] for field in self.view.features)

    def batches(self, rows: pa.Table, limit: int | None) -> Iterator[pa.RecordBatch]:
        """The source's rows under Feast's names, features in their declared types, at most ``limit`` rows at a time.

        Raises ColumnTypeError for a column that does not fit, ValueTypeError for a vector of another length.
        """
        from feast.types import ZonedTimestamp

        stored = {name: column for name, column in self.stored.items() if name != "__dummy_id"}
        columns = {name: rows.column(column) for name, column in stored.items()}
        for field in self.view.features:
            # Its zone is part of the value of a ZonedTimestamp, and only there: everything else is in UTC.
            if field.dtype != ZonedTimestamp or getattr(columns[field.name].type, "tz", None) is None:
                columns[field.name] = conform(
                    columns[field.name],
                    arrow_type_of(field.dtype),
                    name=self.stored[field.name],
                    location=self.source.location,
                )
        table = pa.table(columns)
        self._check_vectors(table)
        yield from table.combine_chunks().to_batches(max_chunksize=limit)

    def _check_vectors(self, rows: pa.Table) -> None:
        """Feast refuses vectors of another length than declared on every way into an online store."""
        if any(field.vector_index for field in self.view.features):
            from feast.utils import _validate_vector_field_lengths

            try:
                _validate_vector_field_lengths(rows, self.view)
            except ValueError as error:
                # One of ours, so that the view fails alone.
                raise ValueTypeError(
                    str(error).rstrip("."), hint="mend the rows, or the feature's vector_length"
                ) from error


def growing(rows: pa.Table) -> Iterator[pa.Table]:
    """The first rows of a read in parts that grow: few are soon on their way."""
    start, size = 0, _FIRST_ROWS
    while start < len(rows):
        yield rows.slice(start, size)
        start, size = start + size, size * _GROWTH


class Gathering:
    """Collects the batches of one read until they are worth packing; the first of them sooner."""

    def __init__(self) -> None:
        self._waiting: list[pa.RecordBatch] = []
        self._enough = _FIRST_ROWS
        self._rows = self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> pa.Table | None:
        """The rows collected so far, once there are enough of them."""
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        return self.rest() if self._rows >= self._enough or self._bytes >= _BYTES else None

    def rest(self) -> pa.Table | None:
        """What is left, if anything."""
        if not self._waiting:
            return None
        table = pa.Table.from_batches(self._waiting)
        self._waiting = []
        self._enough = _ROWS
        self._rows = self._bytes = 0
        return table


def gathered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """All rows, in tables that are worth packing."""
    waiting = Gathering()
    for batch in batches:
        rows = waiting.add(batch)
        if rows is not None:
            yield rows
    rest = waiting.rest()
    if rest is not None:
        yield rest
