"""Feast's response over columns: equal to what Feast makes of the same values, and no message before somebody asks."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from feast import torch_wrapper
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse

from tests.unit.online import samples
from yummy_feast.online import response as module
from yummy_feast.online.answer import Heading, OnlineFeatures, Rows, Status
from yummy_feast.online.response import YummyOnlineResponse
from yummy_feast.values import BY_NAME, KINDS, Encoding, proto_finisher

TIME = 1_700_000_000_123_456


def of(columns: dict[str, tuple[int, list[Any]]], rows: Rows | None = None, **heading: Any) -> OnlineFeatures:
    """Columns of one view, whose first is the join key."""
    length = len(next(iter(columns.values()))[1])
    made = Heading.of(
        [(name, kind, int(position > 0)) for position, (name, (kind, _)) in enumerate(columns.items())], **heading
    )
    view = rows or Rows([Status.PRESENT] * length, [TIME] * length)
    return OnlineFeatures(made, [values for _, values in columns.values()], [Rows.given(length), view], length)


def all_types() -> OnlineFeatures:
    columns: dict[str, tuple[int, list[Any]]] = {"driver_id": (4, [1, 2, 3, 4])}
    columns |= {name: (samples.value_type(name).value, samples.stored(name)) for name in samples.PYTHON}
    return of(columns)


@pytest.mark.parametrize("name", samples.PYTHON)
def test_values_are_feast_s(name: str) -> None:
    ours = YummyOnlineResponse(
        of({"k": (4, [1, 2, 3, 4]), name: (samples.value_type(name).value, samples.stored(name))})
    )
    messages = samples.messages(name)
    assert list(ours.proto.results[1].values) == messages
    feast = OnlineResponse(
        GetOnlineFeaturesResponse(
            metadata={"feature_names": {"val": [name]}},
            results=[{"values": messages}],  # type: ignore[dict-item]
        )
    ).to_dict()
    assert ours.to_dict()[name] == feast[name]
    assert list(map(type, ours.to_dict()[name])) == list(map(type, feast[name]))


@pytest.mark.parametrize("times", [False, True])
def test_every_way_out_is_feast_s(times: bool) -> None:
    ours = YummyOnlineResponse(all_types())
    feast = OnlineResponse(YummyOnlineResponse(all_types()).proto)
    assert list(ours.to_dict(times)) == list(feast.to_dict(times))
    assert ours.to_dict(times) == feast.to_dict(times)
    assert ours.to_df(times).equals(feast.to_df(times))
    flat = [name for name in samples.PYTHON if name not in ("json", "json_list", "map", "scalar_map")]
    columns = {"k": (4, [1, 2, 3, 4]), **{n: (samples.value_type(n).value, samples.stored(n)) for n in flat}}
    ours, feast = YummyOnlineResponse(of(columns)), OnlineResponse(YummyOnlineResponse(of(columns)).proto)
    table = ours.to_arrow(times)
    assert isinstance(table, pa.Table)
    assert table.equals(feast.to_arrow(times))


def test_timestamps_are_whole_seconds_of_the_row() -> None:
    rows = Rows([Status.PRESENT, Status.NOT_FOUND, Status.PRESENT], [TIME, 0, -1])
    answer = YummyOnlineResponse(of({"k": (4, [1, 2, 3]), "x": (4, [5, None, 6])}, rows)).to_dict(True)
    assert answer == {"k": [1, 2, 3], "k__ts": [0, 0, 0], "x": [5, None, 6], "x__ts": [1_700_000_000, 0, -1]}


def test_the_message() -> None:
    rows = Rows([Status.PRESENT, Status.NOT_FOUND, Status.OUTSIDE_MAX_AGE, Status.PRESENT], [TIME, 0, TIME - 1, -1])
    features = of({"k": (2, ["a", "b", "c", "d"]), "x": (4, [5, None, 6, None])}, rows, views=(("view", 3),))
    message = YummyOnlineResponse(features).proto
    assert list(message.metadata.feature_names.val) == ["k", "x"]
    assert list(message.metadata.feature_view_metadata) == []
    assert list(message.results[0].statuses) == [FieldStatus.PRESENT] * 4
    assert list(message.results[1].statuses) == [
        FieldStatus.PRESENT,
        FieldStatus.NOT_FOUND,
        FieldStatus.OUTSIDE_MAX_AGE,
        FieldStatus.NULL_VALUE,
    ]
    assert [(time.seconds, time.nanos) for time in message.results[1].event_timestamps] == [
        (1_700_000_000, 123_456_000),
        (0, 0),
        (1_700_000_000, 123_455_000),
        (-1, 999_999_000),
    ]
    assert [(time.seconds, time.nanos) for time in message.results[0].event_timestamps] == [(0, 0)] * 4
    versioned = YummyOnlineResponse(features, version_metadata=True).proto
    assert [(view.name, view.version) for view in versioned.metadata.feature_view_metadata] == [("view", 3)]


def test_statuses_by_name() -> None:
    rows = Rows([Status.PRESENT, Status.NOT_FOUND, Status.OUTSIDE_MAX_AGE, Status.PRESENT], [TIME, 0, TIME, TIME])
    response = YummyOnlineResponse(of({"k": (4, [1, 2, 3, None]), "x": (4, [5, None, None, None])}, rows))
    assert response.statuses == {
        "k": ["PRESENT", "PRESENT", "PRESENT", "NULL_VALUE"],
        "x": ["PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE", "NULL_VALUE"],
    }


def test_no_message_before_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = module.build_proto
    monkeypatch.setattr(module, "build_proto", lambda *args, **kw: built.append(1) or build(*args, **kw))
    response = YummyOnlineResponse(all_types())
    response.to_dict(True)
    response.to_df()
    assert response.statuses
    assert built == []
    assert response.proto is response.proto
    assert built == [1]
    assert isinstance(response, OnlineResponse)


def test_values_of_no_known_type_travel_as_they_are() -> None:
    response = YummyOnlineResponse(of({"other_id": (0, ["a", None]), "x": (4, [1, 2])}))
    assert response.to_dict() == {"other_id": ["a", None], "x": [1, 2]}
    assert [value.WhichOneof("val") for value in response.proto.results[0].values] == ["string_val", None]


def test_changing_an_answer_changes_no_other() -> None:
    response = YummyOnlineResponse(all_types())
    first = response.to_dict()
    for name, values in response.to_dict().items():
        for value in values:
            if isinstance(value, list | set | dict):
                value.clear()
        values.clear()
        assert response.to_dict()[name] == first[name]


# -------------------------------------------------------------------------------------------- vectors

CODES = {"INT32": "i", "INT64": "q", "FLOAT": "f", "DOUBLE": "d", "BOOL": "?", "UNIX_TIMESTAMP": "q"}


def windowed(features: OnlineFeatures) -> OnlineFeatures:
    """The same with vectors as rows give them: windows on bytes."""
    values = []
    for number, stored in zip(features.heading.kinds, features.values, strict=True):
        kind = KINDS[number]
        if kind.encoding is Encoding.VECTOR:
            stored = [value and window(value, kind.code) if value != [] else window([], kind.code) for value in stored]
        values.append(stored)
    return OnlineFeatures(features.heading, values, features.rows, features.length)


def window(values: list[Any], code: str) -> memoryview:
    """It starts at an odd address."""
    return memoryview(b"x" + struct.pack(f"<{len(values)}{code}", *values))[1:].cast(code)  # type: ignore[call-overload, no-any-return]


def test_windows_and_lists_answer_alike() -> None:
    lists, windows = YummyOnlineResponse(all_types()), YummyOnlineResponse(windowed(all_types()))
    assert sum(isinstance(value, memoryview) for column in windows.features.values for value in column) > 20
    assert windows.to_dict() == lists.to_dict()
    assert windows.proto == lists.proto
    assert windows.to_df().equals(lists.to_df())
    assert windows.statuses == lists.statuses


@pytest.mark.parametrize("element", CODES)
def test_arrays_have_the_declared_type(element: str) -> None:
    code = CODES[element]
    number = BY_NAME[f"{element}_LIST"].number
    given = [True, False] if element == "BOOL" else [1, 0]
    columns = {"k": (4, [1, 2, 3, 4]), "v": (number, [window(given, code), given, None, window([], code)])}
    arrays = YummyOnlineResponse(of(columns)).to_numpy()
    assert arrays["k"] == [1, 2, 3, 4]
    first, second, null, empty = arrays["v"]
    expected = np.dtype("M8[s]" if element == "UNIX_TIMESTAMP" else code)
    assert (first.dtype, second.dtype, empty.dtype) == (expected,) * 3
    assert (first.tolist(), second.tolist(), null, empty.shape) == (np.array(given, expected).tolist(),) * 2 + (
        None,
        (0,),
    )
    assert np.shares_memory(first, np.frombuffer(columns["v"][1][0].obj, np.uint8))
    assert not any(array.flags.writeable for array in (first, second, empty))


def test_a_vector_of_another_width_is_widened() -> None:
    """INT32 elements of a row that was written before its view said INT64."""
    response = YummyOnlineResponse(of({"k": (4, [1]), "v": (BY_NAME["INT64_LIST"].number, [window([5, 6], "i")])}))
    (array,) = response.to_numpy()["v"]
    assert (array.dtype, array.tolist()) == (np.dtype("i8"), [5, 6])
    assert list(response.proto.results[1].values[0].int64_list_val.val) == [5, 6]
    response = YummyOnlineResponse(of({"k": (4, [1]), "v": (BY_NAME["DOUBLE_LIST"].number, [window([0.5, 1.5], "f")])}))
    assert response.to_numpy()["v"][0].dtype == np.dtype("f8")
    assert list(response.proto.results[1].values[0].double_list_val.val) == [0.5, 1.5]


def test_what_is_no_vector_is_as_in_a_dict() -> None:
    response = YummyOnlineResponse(windowed(all_types()))
    arrays, values = response.to_numpy(), response.to_dict()
    for name in ("k", "int64", "string", "string_list", "int64_set", "map", "json_list"):
        assert arrays.get(name) == values.get(name)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 31, 32, 2047, 2048, 600_000])
def test_protobuf_of_any_length(length: int) -> None:
    """Lengths in protobuf take one byte more at 128, 16,384 and 2,097,152 bytes."""
    values = [float(number) for number in range(length)]
    for name, code, field in (("FLOAT_LIST", "f", "float_list_val"), ("DOUBLE_SET", "d", "double_set_val")):
        message = proto_finisher(BY_NAME[name].number)(window(values, code))
        assert message == proto_finisher(BY_NAME[name].number)(values)
        assert message.WhichOneof("val") == field


# -------------------------------------------------------------------------------------------- tensors


class Tensor(list[Any]):
    """Stands in for torch's, which is far too large for this test."""


@pytest.fixture
def _torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def tensor(values: list[Any], device: str) -> Tensor:
        assert device == "cpu"
        if any(not isinstance(value, int | float) for value in values):
            raise TypeError("must be real numbers")
        return Tensor(values)

    fake = SimpleNamespace(tensor=tensor, cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setattr(torch_wrapper, "TORCH_AVAILABLE", True)
    monkeypatch.setattr(torch_wrapper, "_torch", fake)


@pytest.mark.usefixtures("_torch")
def test_tensors_are_feast_s() -> None:
    columns = {"k": (2, ["a", "b"]), "x": (5, [None, 1.5]), "flag": (7, [True, False]), "none": (5, [None, None])}
    response = YummyOnlineResponse(of(columns))
    tensors = response.to_tensor(default_value=-1.0)
    assert tensors == OnlineResponse(response.proto).to_tensor(default_value=-1.0)
    assert {name: type(column) for name, column in tensors.items()} == {
        "k": list,
        "x": Tensor,
        "flag": Tensor,
        "none": Tensor,
    }
    assert tensors["x"] == [-1.0, 1.5]


@pytest.mark.usefixtures("_torch")
def test_tensors_that_cannot_be() -> None:
    response = YummyOnlineResponse(of({"k": (4, [1, None])}))
    with pytest.raises(ValueError, match="unsupported tensor kind 'tf'"):
        response.to_tensor("tf")
    with pytest.raises(ValueError, match="feature 'k' does not fit a tensor: must be real numbers"):
        response.to_tensor(default_value="?")
