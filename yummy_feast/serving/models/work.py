"""From the body of a request to the JSON that answers it; all of it runs in a thread as well as in the loop."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET

from yummy_feast.errors import ModelError, YummyError
from yummy_feast.models.base import Batch
from yummy_feast.models.frames import from_csv, from_parquet
from yummy_feast.models.signature import check_params
from yummy_feast.serving.http import RefusedError
from yummy_feast.serving.models import refusals
from yummy_feast.serving.models.request import Body, Split, check_index, decode, decode_large, names_of, only_form
from yummy_feast.serving.models.stages import Stages

if TYPE_CHECKING:
    from yummy_feast.models.arrange import Arranger, Order
    from yummy_feast.models.loading import Model

_MOST_ORDERS: Final = 256
_ROWS_AT_ONCE: Final = 512
# Seconds to bring one value into its place, and seconds that other requests of a loop may have to wait.
_PER_VALUE: Final = 1e-7
_PATIENCE: Final = 0.002
_encode: Final = msgspec.json.Encoder().encode
_NOT_SO: Final = (ValueError, TypeError, OverflowError, struct.error)


class Served:
    """A model with what was learned from the requests for it.

    observe: is told the predictions of each request.
    """

    def __init__(self, model: Model, observe: Callable[[Sequence[Any]], None] = lambda _: None) -> None:
        self.model = model
        self.arranger: Arranger = model.arranger
        self.scorer = model.scorer
        self.observe = observe
        self.score_one = model.scorer.score_one
        self._orders: dict[bytes, Order] = {}

    def order(self, columns: msgspec.Raw, width: int) -> Order:
        """Where the model's inputs stand in rows of these columns."""
        key = bytes(columns)
        found = self._orders.get(key)
        # Without names, the same text stands for rows of any width.
        if found is None or found.width != width:
            found = self.arranger.order(names_of(columns), width)
            # Callers may invent names without end.
            if len(self._orders) < _MOST_ORDERS:
                self._orders[key] = found
        return found

    def is_long(self, rows: int) -> bool:
        """Whether so many rows take longer than others should wait for."""
        return rows > 1 and rows * (self.model.seconds_per_row + _PER_VALUE * len(self.arranger.inputs)) > _PATIENCE


def answer_json(served: Served, body: bytes, stages: Stages) -> bytes | Callable[[], bytes]:
    """The answer to a JSON body, or, where it takes long, a function that makes it in another thread.

    Raises RefusedError.
    """
    request = decode(body)
    split = request.dataframe_split
    is_short = split is UNSET and request.data is not UNSET
    if is_short:
        split = _short(request)
    if split is not UNSET and len(split.data) == 1 and request.params is None and (is_short or len(request.forms) == 1):
        found = _one(served, split, stages)
        if found is not None:
            return b"[[%b]]" % found.strip(b"[]") if is_short else b'{"predictions":[%b]}' % found
    rows = len(split.data) if split is not UNSET else _rows_of(request)
    if served.is_long(rows):
        return lambda: answer_body(served, request, stages)
    return answer_body(served, request, stages)


def answer_large(served: Served, body: bytes, stages: Stages) -> bytes:
    """The answer to a JSON body of many bytes, for a thread of its own. RefusedError."""
    return answer_body(served, decode_large(body), stages)


def answer_body(served: Served, request: Body, stages: Stages) -> bytes:
    """The answer to a decoded body. RefusedError."""
    try:
        check_params(request.params, served.arranger.signature.params if served.arranger.signature else None)
        batches, is_short = _batches(served, request)
        predictions = scored(served, batches, stages)
    except YummyError as error:
        raise refusals.of_input(error) from None
    if is_short:
        return _encode([value if isinstance(value, list) else [value] for value in predictions])
    return _finish(predictions, stages)


def answer_table(served: Served, body: bytes, kind: str, stages: Stages) -> bytes:
    """The answer to a table: ``kind`` is csv or parquet. RefusedError."""
    try:
        batch = from_csv(body, served.arranger) if kind == "csv" else from_parquet(body, served.arranger)
        if not batch.length and not served.scorer.answers_nothing:
            raise refusals.bad_request("there are no rows", "send at least one")
        return _finish(scored(served, iter([batch] if batch.length else []), stages), stages)
    except YummyError as error:
        raise refusals.of_input(error) from None


def scored(served: Served, batches: Iterator[Batch], stages: Stages) -> list[Any]:
    """Predictions of all rows, in Python's own types. ModelInputError."""
    found: list[Any] = []
    spent = 0.0
    for batch in batches:
        if not stages.decoded:
            stages.decoded = perf_counter()
        began = perf_counter()
        found += _score(served, batch).tolist()
        spent += perf_counter() - began
    stages.score(spent, len(found))
    served.observe(found)
    return found


def _score(served: Served, batch: Batch) -> npt.NDArray[Any]:
    try:
        return served.scorer.score(batch)
    except ModelError:
        raise
    except MemoryError:
        raise RefusedError(413, "BODY_TOO_LARGE", f"{batch.length} rows do not fit into memory") from None


def _finish(predictions: list[Any], stages: Stages) -> bytes:
    answer = b'{"predictions":%b}' % _encode(predictions)
    stages.encoded = perf_counter()
    return answer


def _one(served: Served, split: Split, stages: Stages) -> bytes | None:
    """The JSON of the prediction of one row, the short way; None where the long way knows better."""
    row = split.data[0]
    if split.index is not None:
        check_index(split)
    try:
        values = served.arranger.one(served.order(split.columns, len(row)), row)
        if values is None:
            return None
        stages.decoded = began = perf_counter()
        prediction = served.score_one(values)
    except YummyError as error:
        raise refusals.of_input(error) from None
    except _NOT_SO:
        return None
    stages.score(perf_counter() - began, 1)
    served.observe((prediction,))
    answer = _encode(prediction)
    stages.encoded = perf_counter()
    return answer


def _short(request: Body) -> Split:
    if request.columns is UNSET:
        raise refusals.bad_request("data without columns", "send both, or dataframe_split")
    if request.data is UNSET:
        raise refusals.bad_request("columns without data", "send both, or dataframe_split")
    return Split(request.data, request.columns)


def _rows_of(request: Body) -> int:
    for value in (request.dataframe_records, request.instances, request.inputs):
        if isinstance(value, list):
            return len(value)
        if isinstance(value, dict):
            return max((len(each) for each in value.values() if isinstance(each, list)), default=1)
    return 1


def _batches(served: Served, request: Body) -> tuple[Iterator[Batch], bool]:
    """Rows in portions, and whether they came in the short form. ModelInputError, RefusedError."""
    arranger = served.arranger
    if not request.forms and request.data is not UNSET:
        return _portions(served, _short(request)), True
    form = only_form(request)
    if form == "dataframe_split":
        split = request.dataframe_split
        assert split is not UNSET  # noqa: S101 - only_form says so, and mypy does not see it
        return _portions(served, split), False
    if form == "dataframe_records":
        if not isinstance(request.dataframe_records, list):
            kind = type(request.dataframe_records).__name__
            raise refusals.bad_request(f"Dataframe records format must be a list of records. Got {kind}")
        return iter([arranger.records(request.dataframe_records)]), False
    rows = getattr(request, form)
    if isinstance(rows, dict):
        return iter([arranger.columns(rows)]), False
    return iter([arranger.array(rows, same_keys=form == "instances")]), False


def _portions(served: Served, split: Split) -> Iterator[Batch]:
    check_index(split)
    if not split.data:
        names = names_of(split.columns)
        served.arranger.order(names, len(names or ()))
        if served.scorer.answers_nothing:
            return
        raise refusals.bad_request("there are no rows", "send at least one")
    order = served.order(split.columns, len(split.data[0]))
    arranger = served.arranger
    if arranger.fixed_rows >= 0 or len(split.data) <= _ROWS_AT_ONCE:
        yield arranger.rows(order, split.data)
        return
    for start in range(0, len(split.data), _ROWS_AT_ONCE):
        yield arranger.rows(order, split.data[start : start + _ROWS_AT_ONCE], first=start)
        # Whoever waits for its turn has it now.
        time.sleep(0)


def observed_values(predictions: Sequence[Any]) -> npt.NDArray[np.float64]:
    """A number for each prediction: itself, or which of its values is the largest; none for words."""
    if not predictions or isinstance(predictions[0], str):
        return np.empty(0)
    found = np.asarray(predictions)
    if found.dtype.kind not in "fiub":
        return np.empty(0)
    if found.ndim > 1:
        found = found[:, 0] if found.shape[1] == 1 else found.argmax(axis=1)
    return found.astype(np.float64)
