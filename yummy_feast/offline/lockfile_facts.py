"""What bears on an answer, as facts of a lockfile: views, sources, code, rows and packages."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from yummy_feast.offline.frame_rows import FrameRows
from yummy_feast.offline.lockfile import Column, Feature, OnDemand, Rows, Source, View
from yummy_feast.offline.lockfile_digest import digests, type_text

if TYPE_CHECKING:
    from feast import OnDemandFeatureView

    from yummy_feast.offline.entity_rows import EntityRows
    from yummy_feast.offline.plan import ViewPlan
    from yummy_feast.sources.base import YummySource
    from yummy_feast.sources.looks import Look

_PACKAGES = ("yummy-feast", "feast", "pyarrow", "pandas", "numpy", "duckdb", "deltalake", "pyiceberg", "pyspark")
_NOTES = ("payload_version",)


def labels(looks: Mapping[str, Look]) -> dict[str, str]:
    """For each look, by its key, the name of its source; the second of a name is told apart."""
    found: dict[str, str] = {}
    for key, look in looks.items():
        taken, label, number = set(found.values()), look.source.name, 1
        while label in taken:
            number += 1
            label = f"{look.source.name} ({number})"
        found[key] = label
    return found


def view_facts(view: ViewPlan, label: str) -> View:
    """See ``View``."""
    return View(
        source=label,
        join_keys=dict(view.join_keys),
        features={feature.output: Feature(feature.source, type_text(feature.declared)) for feature in view.features},
        timestamp_field=view.time,
        created_timestamp_column=view.created,
        ttl_seconds=view.ttl / 1_000_000,
    )


def source_facts(source: YummySource, read: Mapping[str, Any]) -> Source:
    """See ``Source``. Which snapshot the source's own settings choose does not matter: ``read`` says it."""
    kind = type(source)
    settings = {name: value for name, value in source.payload().items() if name not in (*kind.moments, *_NOTES)}
    if source.date_partition_column:
        settings["date_partition_column"] = source.date_partition_column
    return Source(f"{kind.__module__}.{kind.__qualname__}", source.location, settings, dict(read))


def on_demand_facts(view: OnDemandFeatureView) -> OnDemand:
    """See ``OnDemand``. Code is compared as text: Python's bytecode changes with its version."""
    projections = view.source_feature_view_projections
    inputs = [f"{name}:{field.name}" for name, projection in projections.items() for field in projection.features]
    request = [f"{name}: {kind}" for name, kind in view.get_request_data_schema().items()]
    step = view.feature_transformation
    text = getattr(step, "udf_string", "") or ""
    plan = getattr(step, "substrait_plan", b"") or b""
    code = hashlib.sha256(json.dumps([type(step).__name__, text, plan.hex()]).encode()).hexdigest()
    return OnDemand(
        mode=str(getattr(view, "mode", "")),
        inputs=(*inputs, *request),
        outputs={field.name: str(field.dtype) for field in view.features},
        code=f"sha256:{code}",
    )


def entity_facts(rows: EntityRows, *, ordered: bool | None = None) -> Rows:
    """Digests of the entity rows. ordered: None = whether these have an order."""
    is_ordered = not isinstance(rows, FrameRows) if ordered is None else ordered
    table = rows.table(partial=True)
    if not is_ordered:
        table = table.take(order_of(table))
    columns = {name: _column_of_objects(rows, name, table) for name in rows.names}
    return _rows(len(rows), columns, ordered=is_ordered)


def answer_facts(table: pa.Table, entity_columns: Iterable[str], *, ordered: bool) -> Rows:
    """Digests of an answer's feature columns."""
    own = set(entity_columns)
    if not ordered:
        table = table.take(order_of(table.select([name for name in table.column_names if name in own])))
    columns = {name: table.column(name) for name in table.column_names if name not in own}
    return _rows(len(table), columns, ordered=ordered)


def order_of(table: pa.Table) -> pa.Array:
    """Row numbers of the rows sorted by all their columns that can be sorted."""
    plain = {
        name: column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not pa.types.is_nested(column.type)
    }
    return pc.sort_indices(pa.table(plain), sort_keys=[(name, "ascending") for name in plain])


def packages() -> dict[str, str]:
    """Versions of what may bear on an answer, as far as installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def difference(then: Any, now: Any, place: str = "") -> str:
    """The first difference between two facts, as ``ttl_seconds is 60.0, it was 30.0``; empty: none."""
    before, after = msgspec.to_builtins(then), msgspec.to_builtins(now)
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return "" if before == after else f"{place} is {_shown(after)}, it was {_shown(before)}"
    for name in dict.fromkeys([*before, *after]):
        inner = f"{place}.{name}" if place else str(name)
        if name not in after:
            return f"{inner} is missing, it was {_shown(before[name])}"
        if name not in before:
            return f"{inner} is new: {_shown(after[name])}"
        found = difference(before[name], after[name], inner)
        if found:
            return found
    return ""


def rows_difference(then: Rows, now: Rows) -> str:
    """Likewise between two tables, in the words of tables."""
    if then.rows != now.rows:
        return f"{now.rows} rows instead of {then.rows}"
    if list(then.columns) != list(now.columns):
        return f"columns {', '.join(now.columns)} instead of {', '.join(then.columns)}"
    types = [
        f"column '{name}' is {now.columns[name].type} instead of {column.type}"
        for name, column in then.columns.items()
        if column.type != now.columns[name].type
    ]
    if types:
        return types[0]
    other = [f"'{name}'" for name, column in then.columns.items() if column.digest != now.columns[name].digest]
    return f"other values in {', '.join(other)}" if other else ""


def _rows(count: int, columns: dict[str, pa.ChunkedArray | pa.Array], *, ordered: bool) -> Rows:
    found = digests(columns)
    return Rows(count, {name: Column(type_text(column.type), found[name]) for name, column in columns.items()}, ordered)


def _column_of_objects(rows: EntityRows, name: str, table: pa.Table) -> pa.ChunkedArray | pa.Array:
    """A column; of one that Arrow cannot hold, how its values are written."""
    if name in table.column_names or rows.frame is None:
        return table.column(name)
    return pa.array([f"{type(value).__name__} {value!r}" for value in rows.frame[name]], pa.string())


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
