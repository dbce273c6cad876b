"""On-demand feature views: Feast's own transformations over what was read and what came with the request.

A transformation sees the join keys, its request data and the features of its declared sources, nothing of other views
(Feast's rule since its issue 6158). Views that are written to the online store are not computed here: they are read
like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yummy_feast.errors import OnlineStoreError
from yummy_feast.online.answer import finish_all
from yummy_feast.values import Encoding, kind_of, stored_value

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import OnDemandFeatureView

_PLAIN = {"DOUBLE": float, "INT64": int, "STRING": str, "BOOL": bool}
"""Types whose stored value is the Python value, as long as it has exactly this type."""


@dataclass(frozen=True, slots=True, eq=False)
class OnDemandPlan:
    """One on-demand view of a request.

    inputs: (name the transformation sees, index of the view read, position of the feature, finisher to Python or None).
    outputs: (name in the answer, feature, Feast ``ValueType`` number), in the order of the request.
    """

    view: OnDemandFeatureView
    inputs: tuple[tuple[str, int, int, Callable[[Any], Any] | None], ...]
    outputs: tuple[tuple[str, str, int], ...]
    full_feature_names: bool


def compute(
    plan: OnDemandPlan, given: Mapping[str, list[Any]], views: Sequence[Sequence[Sequence[Any]]], length: int
) -> list[list[Any]]:
    """Stored values of ``plan.outputs``, one list of ``length`` per output.

    Args: the request's join keys and request data as Python values; per view of the plan its columns of stored values.

    Raises OnlineStoreError when the transformation leaves a feature out or returns another number of rows,
    ValueTypeError when it
    returns a value its declared type cannot hold; what the transformation itself raises passes through.
    """
    inputs = dict(given)
    for name, view, position, finish in plan.inputs:
        inputs[name] = finish_all(views[view][position], finish)
    mode = plan.view.mode
    if mode != "python":
        table = plan.view.transform_arrow(_to_arrow(inputs), plan.full_feature_names)
        found: Mapping[str, Any] = {name: table.column(name).to_numpy() for name in table.column_names}
    elif plan.view.singleton:
        found = _transform_rows(plan.view, inputs, length)
    else:
        found = plan.view.transform_dict(inputs)
    return [
        _stored(plan.view.name, _pick(plan, found, name, feature), kind, length) for name, feature, kind in plan.outputs
    ]


def _to_arrow(inputs: dict[str, list[Any]]) -> pa.Table:
    import pyarrow as pa
    from feast.online_response import _convert_uuids_for_arrow

    return pa.Table.from_pydict(_convert_uuids_for_arrow(inputs))


def _transform_rows(view: OnDemandFeatureView, inputs: dict[str, list[Any]], length: int) -> dict[str, list[Any]]:
    """A singleton transformation knows one row; Feast feeds it the first one only, so feed it one at a time."""
    kinds = {feature.name: kind_of(feature.dtype.to_value_type()) for feature in view.features}
    rows = []
    for row in range(length):
        answer = view.transform_dict({name: [values[row]] for name, values in inputs.items()})
        rows.append({name: _only(value, name, kinds) for name, value in answer.items() if name in kinds})
    return {name: [row.get(name) for row in rows] for name in kinds if any(name in row for row in rows)}


def _only(value: Any, name: str, kinds: Mapping[str, Any]) -> Any:
    """One row's value of a singleton's output, which may come as a list of one."""
    if not isinstance(value, list) or len(value) != 1:
        return value
    is_container = kinds[name].encoding in (Encoding.VECTOR, Encoding.PACKED, Encoding.PROTO)
    return value if is_container and not isinstance(value[0], list | dict | set) else value[0]


def _pick(plan: OnDemandPlan, found: Mapping[str, Any], name: str, feature: str) -> Any:
    # Only pandas transformations are renamed by Feast under full_feature_names.
    for candidate in (name, feature):
        if candidate in found:
            return found[candidate]
    raise OnlineStoreError(
        f"on-demand feature view {plan.view.name!r} did not return its feature {feature!r}",
        hint=f"it returned {', '.join(map(str, found)) or 'nothing'}",
    )


def _stored(view: str, values: Any, kind: int, length: int) -> list[Any]:
    from feast.type_map import python_values_to_proto_values
    from feast.value_type import ValueType

    listed = list(values) if hasattr(values, "__len__") and not isinstance(values, str | bytes | dict) else [values]
    if len(listed) != length:
        raise OnlineStoreError(
            f"on-demand feature view {view!r} returned {len(listed)} values for {length} rows",
            hint="return one value per input row",
        )
    plain = _PLAIN.get(kind_of(kind).name)
    if plain is not None and set(map(type, listed)) == {plain}:
        return listed
    return [stored_value(message, kind) for message in python_values_to_proto_values(listed, ValueType(kind))]
