"""Feast's response over columns: equal to what Feast makes of the same values, and no message before somebody asks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from feast import torch_wrapper
from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse

from tests.unit.online import samples
from yummy_feast.online import response as module
from yummy_feast.online.answer import Heading, OnlineFeatures, Rows, Status
from yummy_feast.online.response import YummyOnlineResponse

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
