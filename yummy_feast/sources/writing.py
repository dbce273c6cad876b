"""Adding rows to what is stored: the table in the stored schema, and files that appear whole or not at all."""

from __future__ import annotations

import logging
import os
import posixpath
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.errors import ColumnNotFoundError, ColumnTypeError, SourceError, nearest, unsigned
from yummy_feast.sources.files import Location, spare_name
from yummy_feast.sources.schemas import cast_column
from yummy_feast.sources.store_errors import no_bucket, store_errors

logger = logging.getLogger(__name__)

Sink: TypeAlias = Path | pa.NativeFile
"""What a format writes a file into."""
_UNITS = ("s", "ms", "us", "ns")


def conformed(table: pa.Table, schema: pa.Schema, place: str) -> pa.Table:
    """``table`` with the columns and types of ``schema``; columns it lacks are null.

    Raises ColumnNotFoundError for a column that ``schema`` lacks, ColumnTypeError for a value that does not fit.
    """
    for name in table.column_names:
        if name not in schema.names:
            raise ColumnNotFoundError(
                f"{place}: no column '{name}' to append to",
                hint=f"drop it from the rows; {nearest(name, schema.names)}",
            )
    columns = []
    for column in schema:
        if column.name in table.column_names:
            values = _in_stored_unit(table.column(column.name), column.type)
            columns.append(cast_column(values, column.type, column.name, place))
        else:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, column.type)]))
        if not column.nullable and columns[-1].null_count:
            raise ColumnTypeError(
                f"{place}: column '{column.name}' must not be null", hint="give it a value in every row"
            )
    return pa.table(columns, schema=schema)


def _in_stored_unit(values: pa.ChunkedArray, target: pa.DataType) -> pa.ChunkedArray:
    """Times lose what the stored unit cannot say: pandas counts nanoseconds, tables mostly microseconds."""
    if pt.is_timestamp(values.type) and pt.is_timestamp(target) and values.type.unit != target.unit:
        finer = _UNITS.index(values.type.unit) > _UNITS.index(target.unit)
        return values.cast(pa.timestamp(target.unit, tz=values.type.tz), safe=False) if finer else values
    return values


def new_name(extension: str) -> str:
    """A file name that nobody else takes and that sorts after earlier ones, so that rows stay in their order."""
    return f"part-{time.time_ns():020}-{uuid.uuid4().hex[:8]}{extension}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one writer at a time: who reads a file, adds rows and puts it back must not be overtaken."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` that takes its place at the end, or disappears if the block fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / spare_name(target.name, uuid.uuid4().hex)
    try:
        yield temporary
        if target.exists():
            shutil.copymode(target, temporary)
        _flush(temporary)
        os.replace(temporary, target)
        _flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Bring a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(place: Location, write: Callable[[Sink], None]) -> None:
    """Make or replace one file by what ``write`` writes into the sink it is given.

    Locally the file is written beside its place and renamed. Stores show an object once it is complete, but closing a
    stream after a failure would complete it: so it is built in memory and sent in one go. On Azure pyarrow empties an
    object before it writes it: what takes another's place is first kept beside it, hidden, until it is there.
    """
    if place.is_local:
        with replacing(Path(place.path)) as temporary:
            write(temporary)
        return
    buffer = pa.BufferOutputStream()
    write(buffer)
    content = buffer.getvalue()
    if not (place.is_on_azure and place.has_files()):
        _put(place, content)
        return
    spare = place.at(posixpath.join(posixpath.dirname(place.path), spare_name(place.path, uuid.uuid4().hex)))
    _put(spare, content)
    _put(place, content, f"its rows are in {spare.text}")
    try:
        spare.delete()
    except SourceError as error:
        # The rows are where they belong; who is told otherwise writes them again.
        logger.warning("%s: what was kept meanwhile is left over (%s)", place.text, error)


def _put(place: Location, content: pa.Buffer, hint: str = "") -> None:
    text = f"{place.text} cannot be written"
    with store_errors(text, place.credentials, hint):
        try:
            with place.filesystem.open_output_stream(place.path) as stream:
                stream.write(content)
        except FileNotFoundError as error:
            raise no_bucket(text) from unsigned(error)
