"""Rows that come as CSV or Parquet. pandas reads both, as it does for MLflow; it is imported with the first of them."""

from __future__ import annotations

from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from yummy_feast.errors import ModelInputError, SignatureError
from yummy_feast.models.arrange import Arranger
from yummy_feast.models.base import Batch
from yummy_feast.models.signature import Type

if TYPE_CHECKING:
    import pandas as pd

_DTYPES: Final = {
    Type.BOOLEAN: np.dtype("bool"),
    Type.INTEGER: np.dtype("int32"),
    Type.LONG: np.dtype("int64"),
    Type.FLOAT: np.dtype("float32"),
    Type.DOUBLE: np.dtype("float64"),
    Type.STRING: np.dtype("object"),
}


def from_csv(data: bytes, arranger: Arranger) -> Batch:
    """Rows of CSV with a header, columns read as the signature's types; perhaps none. ModelInputError."""
    import pandas as pd

    signature = arranger.signature
    dtypes: Any = None
    if signature is not None and signature.is_named:
        dtypes = {column.name: _DTYPES[column.type] for column in signature.columns if column.type in _DTYPES}
    try:
        frame = pd.read_csv(StringIO(data.decode("utf-8")), dtype=dtypes)
    # UnicodeDecodeError and pandas' own errors of parsing are ValueErrors; a document of one column may end oddly.
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise ModelInputError(f"the body is no CSV of the inputs: {_line(error)}") from None
    return _batch(frame, arranger)


def from_parquet(data: bytes, arranger: Arranger) -> Batch:
    """Rows of a Parquet file, whose types must be the signature's or safely become them. ModelInputError."""
    import pandas as pd
    import pyarrow as pa

    try:
        frame = pd.read_parquet(BytesIO(data))
    except (pa.ArrowException, ValueError, TypeError, OSError, KeyError, NotImplementedError) as error:
        raise ModelInputError(f"the body is no Parquet file: {_line(error)}") from None
    signature = arranger.signature
    if signature is not None and signature.is_named:
        for column in signature.columns:
            if column.name in frame.columns:
                _check_safe(frame[column.name], column.name, column.type)
    return _batch(frame, arranger)


def _batch(frame: pd.DataFrame, arranger: Arranger) -> Batch:
    names = [str(name) for name in frame.columns]
    order = arranger.order(names, len(names))
    if frame.empty:
        return Batch(0)
    numeric = all(dtype.kind in "fiub" for dtype in frame.dtypes)
    if arranger.is_numeric and numeric:
        return arranger.rows(order, frame.to_numpy(np.float64))
    values = frame.astype(object).where(frame.notna(), None)
    return arranger.rows(order, values.to_numpy().tolist())


def _check_safe(values: pd.Series, name: str, type_: Type) -> None:
    """MLflow casts only where no value changes: to a wider type of the same kind, and from whole numbers of 32 bits."""
    wanted = _DTYPES.get(type_)
    given = values.dtype
    if wanted is None or type_ is Type.STRING or given == wanted:
        return
    if given.kind == "O" and all(value is None for value in values):
        return
    if given.kind in "fiu" and wanted.kind in "fi":
        same = given.kind == wanted.kind and given.itemsize <= wanted.itemsize
        unsigned = given.kind == "u" and wanted.kind == "i" and given.itemsize < wanted.itemsize
        whole = given.kind in "iu" and wanted == np.float64 and given.itemsize <= 4
        flags = given == np.int64 and wanted.kind == "f" and bool(values.isin((0, 1)).all())
        if same or unsigned or whole or flags:
            return
    hint = "cast the column before it is written"
    if given == np.float64 and wanted.kind == "i" and values.isna().any():
        hint = "a whole number cannot be missing: train with doubles where values may be"
    raise SignatureError(f"input {name!r}: cannot safely convert {given} to {type_.value}", hint=hint)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
