"""Feast's ``OnlineResponse`` over columns: the protobuf message is built only when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from feast.online_response import TIMESTAMP_POSTFIX, OnlineResponse
from google.protobuf.timestamp_pb2 import Timestamp

from yummy_feast.online.answer import OnlineFeatures, Status, finish_all
from yummy_feast.values import KINDS, Encoding, proto_finisher

if TYPE_CHECKING:
    from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
    from feast.protos.feast.types.Value_pb2 import Value

_MICROSECONDS = 1_000_000


class YummyOnlineResponse(OnlineResponse):
    """What ``FeatureStore.get_online_features`` returns.

    ``to_dict``, ``to_df``, ``to_arrow`` and ``to_tensor`` answer from columns and equal Feast's; ``proto`` (read by
    Feast's servers) is built at first use and kept. ``statuses`` tells how each cell came to its value.
    """

    def __init__(self, features: OnlineFeatures, *, version_metadata: bool = False) -> None:
        """Args: the answer; whether ``proto`` names the views that were read and their versions.

        Feast's own __init__ takes a message and is skipped on purpose.
        """
        self.features = features
        self._version_metadata = version_metadata
        self._proto: GetOnlineFeaturesResponse | None = None

    @property
    def proto(self) -> GetOnlineFeaturesResponse:  # type: ignore[override]
        """The answer as Feast's message: values, statuses and event timestamps per column."""
        if self._proto is None:
            self._proto = build_proto(self.features, version_metadata=self._version_metadata)
        return self._proto

    @property
    def statuses(self) -> dict[str, list[str]]:
        """Column name -> PRESENT, NULL_VALUE, NOT_FOUND or OUTSIDE_MAX_AGE per row."""
        names = self.features.heading.names
        return {
            name: [Status(number).name for number in self.features.statuses_of(column)]
            for column, name in enumerate(names)
        }

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, Any]:
        """Column name -> values; with ``include_event_timestamps`` also ``<name>__ts``, whole seconds since 1970."""
        values = self.features.to_python()
        if not include_event_timestamps:
            return values
        answer: dict[str, Any] = {}
        for column, name in enumerate(self.features.heading.names):
            answer[name] = values[name]
            times = self.features.event_times_of(column)
            answer[name + TIMESTAMP_POSTFIX] = [time // _MICROSECONDS for time in times]
        return answer

    def to_numpy(self) -> dict[str, Any]:
        """``to_dict``, except that each vector is an array: Array features of numbers, bools and timestamps.

        An array has the declared type (timestamps are ``datetime64[s]`` in UTC) and shape (n,), None stands for a null.
        It is read-only, and a window on the bytes that came from Redis where they have that type already: nothing is
        copied. It may lie at any address; ``array.copy()`` has one of its own.
        """
        answer: dict[str, Any] = {}
        for name, number, finish, stored in zip(
            self.features.heading.names,
            self.features.heading.kinds,
            self.features.heading.finishers,
            self.features.values,
            strict=True,
        ):
            answer[name] = finish_all(stored, _array_finisher(number) or finish)
        return answer

    def to_tensor(self, kind: str = "torch", default_value: Any = float("nan")) -> dict[str, Any]:
        """Column name -> torch tensor of a numeric feature (nulls become ``default_value``), list of anything else.

        Raises ValueError for another ``kind`` and for values that do not fit one tensor.
        """
        if kind != "torch":
            raise ValueError(f"unsupported tensor kind {kind!r}: only 'torch' is known")
        from feast.torch_wrapper import get_torch

        torch = get_torch()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        tensors: dict[str, Any] = {}
        for name, column in self.to_dict().items():
            # The first real value decides: the stand-in for a missing one says nothing about the feature.
            sample = next((value for value in column if value is not None), default_value)
            filled = [default_value if value is None else value for value in column]
            if not isinstance(sample, int | float | bool):
                tensors[name] = filled
                continue
            try:
                tensors[name] = torch.tensor(filled, device=device)
            except (TypeError, ValueError, RuntimeError) as error:
                raise ValueError(f"feature {name!r} does not fit a tensor: {error}") from error
        return tensors


_DTYPES = {"i": "<i4", "q": "<i8", "f": "<f4", "d": "<f8", "?": "?"}


def _array_finisher(number: int) -> Callable[[Any], Any] | None:
    """From a stored vector of this Feast type to an array; None for another type. Sets stay sets."""
    kind = KINDS.get(number)
    if kind is None or kind.encoding is not Encoding.VECTOR or kind.is_set:
        return None
    dtype: np.dtype[Any] = np.dtype(_DTYPES[kind.code])
    is_time = kind.name.startswith("UNIX_TIMESTAMP")

    def finish(stored: Sequence[Any] | memoryview) -> npt.NDArray[Any]:
        # A row that was written before its view changed may hold another width.
        own = np.asarray(stored) if isinstance(stored, memoryview) else np.array(stored, dtype)
        array: npt.NDArray[Any] = own.astype(dtype, copy=False)
        array.flags.writeable = False
        # Feast's null timestamp and numpy's are the same number.
        return array.view("<M8[s]") if is_time else array

    return finish


def build_proto(features: OnlineFeatures, *, version_metadata: bool = False) -> GetOnlineFeaturesResponse:
    """The answer as Feast's ``GetOnlineFeaturesResponse``: one FeatureVector per column, in the columns' order."""
    from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse

    heading = features.heading
    message = GetOnlineFeaturesResponse()
    message.metadata.feature_names.val.extend(heading.names)
    if version_metadata:
        for name, version in heading.views:
            message.metadata.feature_view_metadata.add(name=name, version=version)
    times = [[_timestamp(time) for time in rows.event_times] for rows in features.rows]
    for column, kind in enumerate(heading.kinds):
        message.results.add(
            values=_proto_values(kind, features.values[column]),
            statuses=features.statuses_of(column),
            event_timestamps=times[heading.rows_of[column]],
        )
    return message


def _proto_values(kind: int, stored: Sequence[Any]) -> list[Value]:
    from feast.protos.feast.types.Value_pb2 import Value

    null = Value()
    if kind == 0:
        from feast.type_map import python_values_to_proto_values

        return python_values_to_proto_values(list(stored))
    finish = proto_finisher(kind)
    return [null if value is None else finish(value) for value in stored]


def _timestamp(microseconds: int) -> Timestamp:
    seconds, rest = divmod(microseconds, _MICROSECONDS)
    return Timestamp(seconds=seconds, nanos=rest * 1000)
