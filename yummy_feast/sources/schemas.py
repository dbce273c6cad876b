"""Arrow schemas of sources: plain types, one schema for files that differ, and casts that say what did not fit."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.types as pt

from yummy_feast.errors import ColumnNotFoundError, ColumnTypeError, nearest

_UNITS = ("s", "ms", "us", "ns")


def plain_type(stored: pa.DataType) -> pa.DataType:
    """``stored`` without encodings: dictionaries become their values, extensions their storage, views plain arrays.

    List children are named ``item`` whatever the format calls them, so that equal types have equal text.
    """
    if isinstance(stored, pa.BaseExtensionType):
        return plain_type(stored.storage_type)
    if pt.is_dictionary(stored) or pt.is_run_end_encoded(stored):
        return plain_type(stored.value_type)
    if pt.is_string_view(stored):
        return pa.string()
    if pt.is_binary_view(stored):
        return pa.binary()
    if pt.is_fixed_size_list(stored):
        return pa.list_(_item(stored), stored.list_size)
    if pt.is_large_list(stored) or pt.is_large_list_view(stored):
        return pa.large_list(_item(stored))
    if pt.is_list(stored) or pt.is_list_view(stored):
        return pa.list_(_item(stored))
    if pt.is_map(stored):
        return pa.map_(plain_type(stored.key_type), plain_type(stored.item_type))
    if pt.is_struct(stored):
        return pa.struct([pa.field(child.name, plain_type(child.type)) for child in stored])
    return stored


def _item(stored: pa.DataType) -> pa.Field:
    return pa.field("item", plain_type(stored.value_type))


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """``schema`` with plain types, every column nullable, no metadata."""
    return pa.schema([pa.field(column.name, plain_type(column.type)) for column in schema])


def is_time_like(stored: pa.DataType) -> bool:
    """Whether a column of this type can be an event timestamp: timestamps and dates."""
    return bool(pt.is_timestamp(stored) or pt.is_date(stored))


def common_type(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both, None if there is none.

    Integers widen; integers and floats meet in double (a value that double cannot hold exactly is an error when it is
    read, never rounded); timestamps take the finer unit, and UTC where only one has a zone (Feast reads naive as UTC).
    """
    if left == right:
        return left
    if pt.is_null(left) or pt.is_null(right):
        return right if pt.is_null(left) else left
    for rule in (_common_number, _common_text, _common_time, _common_decimal, _common_nested):
        found = rule(left, right)
        if found is not None:
            return found
    return None


def _common_number(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if pt.is_integer(left) and pt.is_integer(right):
        if pt.is_signed_integer(left) == pt.is_signed_integer(right):
            return max(left, right, key=lambda item: item.bit_width)
        unsigned, signed = (left, right) if pt.is_unsigned_integer(left) else (right, left)
        width = max(signed.bit_width, 2 * unsigned.bit_width)
        return {16: pa.int16(), 32: pa.int32()}.get(width, pa.int64())
    if pt.is_floating(left) and pt.is_floating(right):
        return max(left, right, key=lambda item: item.bit_width)
    if {pt.is_integer(left), pt.is_integer(right)} == {True, False} and (pt.is_floating(left) or pt.is_floating(right)):
        return pa.float64()
    return None


def _is_text(item: pa.DataType) -> bool:
    return bool(pt.is_string(item) or pt.is_large_string(item))


def _common_text(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if _is_text(left) and _is_text(right):
        return pa.large_string()
    both = [pt.is_binary(item) or pt.is_large_binary(item) or pt.is_fixed_size_binary(item) for item in (left, right)]
    if all(both):
        return pa.large_binary() if pt.is_large_binary(left) or pt.is_large_binary(right) else pa.binary()
    return None


def _common_time(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if pt.is_timestamp(left) and pt.is_timestamp(right):
        unit = max(left.unit, right.unit, key=_UNITS.index)
        return pa.timestamp(unit, tz=left.tz if left.tz == right.tz else "UTC")
    if pt.is_date(left) and pt.is_date(right):
        return pa.date64()
    if pt.is_timestamp(left) and pt.is_date(right):
        return left
    return right if pt.is_date(left) and pt.is_timestamp(right) else None


def _common_decimal(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if not (pt.is_decimal(left) and pt.is_decimal(right)):
        return None
    scale = max(left.scale, right.scale)
    precision = scale + max(left.precision - left.scale, right.precision - right.scale)
    if precision > 76:
        return None
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def _common_nested(left: pa.DataType, right: pa.DataType) -> pa.DataType | None:
    if pt.is_struct(left) and pt.is_struct(right):
        children = {child.name: child.type for child in left}
        for child in right:
            merged = common_type(children[child.name], child.type) if child.name in children else child.type
            if merged is None:
                return None
            children[child.name] = merged
        return pa.struct(list(children.items()))
    if pt.is_map(left) and pt.is_map(right):
        key, item = common_type(left.key_type, right.key_type), common_type(left.item_type, right.item_type)
        return pa.map_(key, item) if key is not None and item is not None else None
    if _is_list(left) and _is_list(right):
        item = common_type(left.value_type, right.value_type)
        large = pt.is_large_list(left) or pt.is_large_list(right)
        return None if item is None else (pa.large_list if large else pa.list_)(item)
    return None


def _is_list(item: pa.DataType) -> bool:
    return bool(pt.is_list(item) or pt.is_large_list(item) or pt.is_fixed_size_list(item))


def merged_schema(schemas: Iterable[tuple[str, pa.Schema]]) -> pa.Schema:
    """One schema for many files, given as (file, schema): columns in order of first appearance, types that hold all.

    Raises ColumnTypeError naming the file and column that cannot be brought together with an earlier file.
    """
    merged: dict[str, tuple[pa.DataType, str]] = {}
    seen: set[pa.Schema] = set()
    for file, schema in schemas:
        plain = plain_schema(schema)
        if plain in seen:
            continue
        seen.add(plain)
        for column in plain:
            if column.name not in merged:
                merged[column.name] = (column.type, file)
                continue
            earlier_type, earlier_file = merged[column.name]
            both = common_type(earlier_type, column.type)
            if both is None:
                raise ColumnTypeError(
                    f"{file}: column '{column.name}' is {column.type}, but {earlier_type} in {earlier_file}",
                    hint="files of one source must agree on a column's type; rewrite one of them",
                )
            if both != earlier_type:
                merged[column.name] = (both, file)
    return pa.schema([pa.field(name, found) for name, (found, _) in merged.items()])


def cast_column(values: pa.Array, target: pa.DataType, column: str, place: str) -> pa.Array:
    """``values`` as ``target``, exactly. ColumnTypeError naming place and column where a value would change."""
    if values.type == target:
        return values
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if isinstance(values, pa.ChunkedArray) and isinstance(values.type, pa.BaseExtensionType):
        values = pa.chunked_array([chunk.storage for chunk in values.chunks], values.type.storage_type)
    try:
        return values.cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise ColumnTypeError(
            f"{place}: column '{column}' is {values.type} and does not fit {target}: {str(error).splitlines()[0]}",
            hint="mend the value, or give the column a type that holds it",
        ) from error


def check_time_column(schema: pa.Schema, column: str, role: str, place: str) -> None:
    """ColumnNotFoundError or ColumnTypeError unless ``schema`` has the column, in a type that is a time."""
    if column not in schema.names:
        raise ColumnNotFoundError(f"{place}: no column '{column}' ({role})", hint=nearest(column, schema.names))
    stored = schema.field(column).type
    if not is_time_like(stored):
        raise ColumnTypeError(
            f"{place}: column '{column}' ({role}) is {stored}, not a time",
            hint="store it as a timestamp or a date",
        )
