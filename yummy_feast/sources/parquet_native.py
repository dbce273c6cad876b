"""Which Parquet files another reader (Spark's) sees with the very same values as ours."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.sources.base import NativeFile, Piece, SeenPiece
from yummy_feast.sources.parquet_pieces import FileColumn, ParquetFooter
from yummy_feast.sources.schemas import plain_type

File = tuple[ParquetFooter, Mapping[str, FileColumn]]

_PLAIN = (
    pt.is_boolean,
    pt.is_signed_integer,
    pt.is_uint8,
    pt.is_uint16,
    pt.is_uint32,
    pt.is_float32,
    pt.is_float64,
    pt.is_string,
    pt.is_large_string,
    pt.is_binary,
    pt.is_large_binary,
)
_TOP = (*_PLAIN, pt.is_timestamp, pt.is_date32)
"""Beside those above, what is read as the number it is stored as, which works for columns and not inside lists; but not
uint64, whose dictionaries Spark cannot decode as that number."""


def readable_by_others(columns: Sequence[str], schema: pa.Schema, files: Sequence[File]) -> bool:
    """Whether the columns may be left to another reader, which knows columns by name without regard to case, and
    converts nothing: files that differ in a column's type, or spell times as INT96, are for ours.
    """
    return all(_is_plain(schema.field(name).type) for name in columns) and all(
        _has_plain(footer, found, columns, schema) for footer, found in files
    )


def readable_by_name(columns: Sequence[str], schema: pa.Schema, files: Sequence[File]) -> bool:
    """As ``readable_by_others``, for files of a table whose log knows which of their columns is which: only where a
    column's name leads to the same one, or to none in a file that lacks it.
    """
    for footer, found in files:
        names = {name.casefold() for name in footer.schema.names}
        for name in columns:
            column = found[name]
            if column.stored is None and column.constant is None and name.casefold() in names:
                return False
            if column.stored not in (None, name):
                return False
    return readable_by_others(columns, schema, files)


def native_file(file: File, columns: Sequence[str], pieces: Sequence[Piece]) -> NativeFile:
    """One file for a ``NativeTable``, with the constants among ``columns``."""
    footer, found = file
    constants = {
        name: column.constant.as_py()
        for name, column in found.items()
        if name in columns and column.constant is not None
    }
    start = next((piece.start for piece in pieces if isinstance(piece, SeenPiece)), None)
    return NativeFile(footer.file.text, constants, start)


def _has_plain(
    footer: ParquetFooter, found: Mapping[str, FileColumn], columns: Sequence[str], schema: pa.Schema
) -> bool:
    if posixpath.basename(footer.file.location.path).startswith(("_", ".")):
        return False
    names = [name.casefold() for name in footer.schema.names]
    if len(set(names)) < len(names) or "_metadata" in names:
        return False
    leaves = dict(_leaves(footer))
    for name in columns:
        stored = found[name].stored
        if stored is None:
            continue
        if plain_type(footer.schema.field(stored).type) != schema.field(name).type or "." in stored:
            return False
        if "INT96" in leaves.get(stored, ()):
            return False
    return True


def _leaves(footer: ParquetFooter) -> Iterator[tuple[str, list[str]]]:
    """Per column the physical types below it."""
    below: dict[str, list[str]] = {}
    schema = footer.metadata.schema
    for number in range(len(schema)):
        leaf = schema.column(number)
        below.setdefault(leaf.path.partition(".")[0], []).append(leaf.physical_type)
    yield from below.items()


def _is_plain(kind: pa.DataType, tests: Sequence[object] = _TOP) -> bool:
    if pt.is_decimal(kind):
        return bool(kind.precision <= 38 and kind.scale >= 0)
    if pt.is_list(kind) or pt.is_large_list(kind):
        return _is_plain(kind.value_type, _PLAIN)
    if pt.is_struct(kind):
        names = [child.name.casefold() for child in kind]
        return bool(names) and len(set(names)) == len(names) and all(_is_plain(child.type, _PLAIN) for child in kind)
    return any(test(kind) for test in tests)  # type: ignore[operator]
