"""Small worlds for the point-in-time join: a few sources, entity rows that ask about them, and what the oracle answers.

Moments lie on a grid of hours, give or take one tick of their column's unit, and entity rows aim at where the answer of
some source row begins and ends, so that ties and times exactly at (and just beside) an edge are common, not never seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from tests.property import oracle

TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
ZONES = (None, "UTC", "+05:30", "America/New_York")
ERAS = {
    1900: -2_208_988_800,
    # Some hours before and after the epoch: negative numbers must not round towards zero.
    1970: -3 * 3600,
    # New York turns its clocks forward at 07:00 UTC.
    2024: 1_710_050_400,
    # A day before the end of Python's calendar: no zone shows it as the year 10000.
    9999: 253_402_300_800 - 24 * 3600,
}
TTLS = (
    timedelta(hours=2),
    None,
    timedelta(hours=1),
    timedelta(hours=2, microseconds=1),
    timedelta(microseconds=1),
    timedelta(0),
    # Longer than the calendar.
    timedelta(days=4_000_000),
)
KEY_TYPES = {
    "user": (pa.int64(), pa.int32()),
    "shop": (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())),
    "lane": (pa.int32(), pa.int64()),
    "code": (pa.binary(),),
}
KEY_VALUES: Mapping[str, tuple[object, ...]] = {
    "user": (-1, 0),
    "shop": ("", "a"),
    "lane": (7, 8),
    "code": (b"", b"\xff\x00"),
}
# A source never has these: who asks for them finds nothing, also where they do not fit the source's type.
UNKNOWN_KEYS = {"user": 2**31 - 1, "shop": "nowhere", "lane": 99, "code": b"nothing"}
TOO_WIDE = 2**32


@dataclass(frozen=True, slots=True)
class Domain:
    """What a world may contain; narrowed for a store that answers only part of it right."""

    units: tuple[str, ...] = ("s", "ms", "us", "ns")
    nulls_in_entity_keys: bool = True
    full_ties: bool = True
    keyless_views: bool = True
    partial_key_maps: bool = True
    many_files: bool = True
    created: tuple[bool, ...] = (False, True)
    created_cutoff: tuple[bool, ...] = (False, True)
    min_entity_rows: int = 0
    forms: tuple[str, ...] = ("pandas", "arrow", "path")
    renamed_time: bool = True
    far_away: bool = True
    key_types: tuple[str, ...] = tuple(str(kind) for kinds in KEY_TYPES.values() for kind in kinds)

    @property
    def keys(self) -> list[str]:
        return sorted(key for key, kinds in KEY_TYPES.items() if any(str(kind) in self.key_types for kind in kinds))


@dataclass(frozen=True, slots=True)
class Source:
    """Rows at rest. ``table`` has stored names; ``mapping`` is stored -> feature name; files begin at ``cuts``."""

    name: str
    table: pa.Table
    keys: tuple[str, ...]
    created: bool
    mapping: Mapping[str, str]
    cuts: tuple[int, ...]
    ttl: timedelta | None

    def stored(self, name: str) -> str:
        """The column that a feature view's ``name`` is read from."""
        return next((old for old, new in self.mapping.items() if new == name), name)


@dataclass(frozen=True, slots=True)
class Use:
    """One appearance of a source's feature view in a fetch: under which name, by which entity columns for its keys."""

    source: Source
    alias: str | None
    key_columns: Mapping[str, str]
    features: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.alias or self.source.name


@dataclass(frozen=True, slots=True)
class World:
    entity_rows: pa.Table
    time: str
    uses: tuple[Use, ...]
    created_cutoff: bool
    full_names: bool
    form: str

    def column_of(self, use: Use, feature: str) -> str:
        return f"{use.name}__{feature}" if self.full_names else feature

    def expected(self) -> list[dict[str, Any]]:
        views = [
            oracle.View(
                rows=plain(use.source.table),
                keys={column: use.source.stored(key) for key, column in use.key_columns.items()},
                features={self.column_of(use, feature): use.source.stored(feature) for feature in use.features},
                event=use.source.stored("event"),
                created=use.source.stored("created") if use.source.created else None,
                ttl=None if use.source.ttl is None else nanoseconds(use.source.ttl),
            )
            for use in self.uses
        ]
        return oracle.point_in_time(plain(self.entity_rows), views, time=self.time, created_cutoff=self.created_cutoff)


def nanoseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1) * 1000


def plain(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as dicts that compare with ==: times are nanoseconds since 1970 UTC, a NaN is the text 'NaN'."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_timestamp(column.type):
            tick = 10**9 // TICKS[column.type.unit]
            values = [None if value is None else value * tick for value in column.cast(pa.int64()).to_pylist()]
        else:
            values = [
                "NaN" if isinstance(value, float) and math.isnan(value) else value for value in column.to_pylist()
            ]
        columns[name] = values
    return [{name: values[i] for name, values in columns.items()} for i in range(table.num_rows)]


def fits(era: int, unit: str) -> bool:
    """Nanoseconds in 64 bits end in the year 2262."""
    return era < 2262 or unit != "ns"


def column(values: st.SearchStrategy[Any], rows: int, *, nulls: bool) -> st.SearchStrategy[list[Any]]:
    """``rows`` values; with ``nulls`` one in eight is None."""
    cell = st.integers(0, 7).flatmap(lambda dice: st.none() if dice == 7 else values) if nulls else values
    return st.lists(cell, min_size=rows, max_size=rows)


@st.composite
def moments(
    draw: st.DrawFn, domain: Domain, era: int, rows: int, *, nulls: bool = False, targets: Sequence[int] = ()
) -> pa.Array:
    """A timestamp column in one unit and zone: on the grid of ``era``, rarely centuries away, often at a target."""
    unit, zone = draw(st.sampled_from([unit for unit in domain.units if fits(era, unit)])), draw(st.sampled_from(ZONES))
    eras = [era] * 20 + [other for other in ERAS if domain.far_away and fits(other, unit)]
    on_grid = st.builds(
        lambda start, hour: (ERAS[start] + hour * 3600) * TICKS[unit], st.sampled_from(eras), st.integers(0, 4)
    )
    aimed = [target * TICKS[unit] // 10**9 for target in targets]
    moment = st.one_of(on_grid, st.sampled_from(aimed), st.sampled_from(aimed)) if aimed else on_grid
    moment = st.builds(lambda start, tick: start + tick, moment, st.sampled_from((0, 0, 0, -1, 1)))
    return pa.array(draw(column(moment, rows, nulls=nulls)), pa.timestamp(unit, zone))


def edges(source: Source, era: int) -> list[int]:
    """Where answers begin and end, in nanoseconds: the times of the source's rows, and the same a ttl later."""
    ttl = 0 if source.ttl is None else nanoseconds(source.ttl)
    names = [source.stored(name) for name in ("event", *(["created"] if source.created else []))]
    times = {row[name] for row in plain(source.table.select(names)) for name in names if row[name] is not None}
    near = {time + late for time in times for late in (0, ttl)}
    return sorted(time for time in near if abs(time - ERAS[era] * 10**9) < 2 * 10**9 * 86_400)


@st.composite
def key_column(draw: st.DrawFn, domain: Domain, name: str, rows: int, *, nulls: bool, unknown: bool) -> pa.Array:
    """A join key of ``rows`` values from a small set; ``unknown`` adds one that no source has."""
    kind = draw(st.sampled_from([kind for kind in KEY_TYPES[name] if str(kind) in domain.key_types]))
    strange = [UNKNOWN_KEYS[name], *([TOO_WIDE] if kind == pa.int64() else [])] if unknown else []
    values = st.sampled_from((*(KEY_VALUES[name] * 4), *strange))
    return pa.array(draw(column(values, rows, nulls=nulls)), kind)


def value_column(values: st.SearchStrategy[object], kind: pa.DataType, rows: int) -> st.SearchStrategy[pa.Array]:
    return column(values, rows, nulls=True).map(lambda column: pa.array(column, kind))


@st.composite
def sources(draw: st.DrawFn, domain: Domain, era: int, name: str) -> Source:
    rows = draw(st.sampled_from((3, 8, 12, 20, 1, 0)))
    count = draw(st.sampled_from((1, 2, 1, 3, 0) if domain.keyless_views else (1, 2, 1, 3)))
    keys = tuple(draw(st.permutations(domain.keys))[:count])
    created = draw(st.sampled_from(domain.created))
    columns = {key: draw(key_column(domain, key, rows, nulls=True, unknown=False)) for key in keys}
    columns["event"] = draw(moments(domain, era, rows, nulls=True))
    if created:
        columns["created"] = draw(moments(domain, era, rows, nulls=True))
    # The number of the row tells which row won; the other two show that its nulls stay.
    columns[f"{name}_row"] = pa.array(range(rows), pa.int64())
    columns[f"{name}_level"] = draw(value_column(st.sampled_from((0.5, -0.0, math.nan)), pa.float64(), rows))
    columns[f"{name}_text"] = draw(value_column(st.sampled_from(("", "x")), pa.string(), rows))
    table = pa.table(columns)
    if not domain.full_ties:
        table = without_full_ties(table, [*keys, "event", *(["created"] if created else [])])
    mapped = draw(st.sets(st.sampled_from(table.column_names)))
    cuts = draw(st.lists(st.integers(0, table.num_rows), max_size=2)) if domain.many_files else []
    return Source(
        name=name,
        table=table.rename_columns([f"s_{column}" if column in mapped else column for column in table.column_names]),
        keys=keys,
        created=created,
        mapping={f"s_{column}": column for column in sorted(mapped)},
        cuts=(0, *sorted(cuts)),
        ttl=draw(st.sampled_from(TTLS)),
    )


def without_full_ties(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The table without rows that agree with an earlier one in keys, event and created: there any answer would do."""
    seen, kept = set(), []
    for i, row in enumerate(plain(table.select(columns))):
        if (rank := tuple(row.values())) not in seen:
            seen.add(rank)
            kept.append(i)
    return table.take(pa.array(kept, pa.int64()))


@st.composite
def uses(draw: st.DrawFn, domain: Domain, source: Source, alias: str | None) -> Use:
    """Under an alias a key may come from a column of another name, as origin and destination of one airport view do."""
    other = draw(st.sets(st.sampled_from(source.keys))) if alias and source.keys else set()
    if other and not domain.partial_key_maps:
        other = set(source.keys)
    features = [f"{source.name}_{kind}" for kind in ("row", "level", "text")]
    chosen = draw(st.lists(st.sampled_from(features), unique=True, min_size=1))
    return Use(source, alias, {key: f"other_{key}" if key in other else key for key in source.keys}, tuple(chosen))


@st.composite
def worlds(draw: st.DrawFn, domain: Domain = Domain()) -> World:
    era = draw(st.sampled_from(sorted(ERAS)))
    found = [draw(sources(domain, era, f"view{i}")) for i in range(draw(st.integers(1, 3)))]
    used = [draw(uses(domain, source, draw(st.sampled_from((None, f"as_{source.name}"))))) for source in found]
    full_names = draw(st.booleans())
    if full_names and draw(st.booleans()):
        used.append(draw(uses(domain, found[0], "twin")))
    rows = draw(st.sampled_from([count for count in (3, 8, 12, 16, 1, 0) if count >= domain.min_entity_rows]))
    time = draw(st.sampled_from(("event_timestamp", "asked_at"))) if domain.renamed_time else "event_timestamp"
    columns = {"entity_row": pa.array(range(rows), pa.int64())}
    for name in sorted({column for use in used for column in use.key_columns.values()}):
        key = name.removeprefix("other_")
        columns[name] = draw(key_column(domain, key, rows, nulls=domain.nulls_in_entity_keys, unknown=True))
    columns[time] = draw(moments(domain, era, rows, targets=[time for source in found for time in edges(source, era)]))
    columns["weight"] = draw(value_column(st.sampled_from((0.25, 3.0)), pa.float32(), rows))
    table = pa.table(columns)
    if rows and draw(st.booleans()):
        # Equal in everything but the first column: neither may swallow the other.
        table = pa.concat_tables([table, table.slice(draw(st.integers(0, rows - 1)), 1)])
    return World(
        entity_rows=table,
        time=time,
        uses=tuple(used),
        created_cutoff=draw(st.sampled_from(domain.created_cutoff)),
        full_names=full_names,
        form=draw(st.sampled_from(domain.forms)),
    )
