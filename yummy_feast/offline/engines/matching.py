"""The embedded point-in-time join: match addresses in one pass over keys and times, gather the features in a second."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from yummy_feast.errors import ColumnNotFoundError, nearest
from yummy_feast.offline.conform import conform
from yummy_feast.offline.engines.base import EngineSettings, Explanation, ViewReport
from yummy_feast.offline.engines.codes import KeyCodes, canonical, common_family
from yummy_feast.offline.engines.gather import gather, groups
from yummy_feast.offline.engines.passes import PIECE_BITS, each
from yummy_feast.offline.engines.slots import Slots
from yummy_feast.offline.engines.spill import Spill
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.plan import RetrievalPlan, ViewPlan
from yummy_feast.offline.times import (
    MISSING,
    PER_SECOND,
    Int64s,
    instants,
    newest_allowed,
    oldest_allowed,
    show,
    to_micros,
    unit_of,
)
from yummy_feast.sources.base import Piece, Prune, Scan

STATE_BYTES = 96
"""What matching one entity row takes: its key, bounds and slot, and the sorting of them."""


@dataclass(slots=True)
class Match:
    """One view's answer before its features are read. addresses: of each entity row's feature row, -1 = none; shape
    (rows,).
    """

    scan: Scan
    pieces: list[Piece]
    total_pieces: int
    addresses: Int64s
    start: int
    end: int
    rows_read: int = 0
    expired: int = 0


class EmbeddedAnswer:
    """A fetch computed in this process. Matching is done once and kept (8 bytes per entity row and view); features
    are read per call.
    """

    def __init__(self, plan: RetrievalPlan, rows: EntityRows, settings: EngineSettings) -> None:
        self._plan = plan
        self._rows = rows
        self._settings = settings
        self._numberings: dict[tuple[tuple[str, str], ...], KeyCodes] = {}
        self._keys: dict[tuple[str, str], pa.Array] = {}
        self._found: list[Match] | None = None
        self._lock = threading.Lock()

    @property
    def _matches(self) -> list[Match]:
        # No cached_property: Python 3.11 locks it for all fetches of the process together, 3.12 not at all.
        with self._lock:
            if self._found is None:
                self._found = [self._match(view) for view in self._plan.views]
                self._numberings.clear()
                self._keys.clear()
            return self._found

    def table(self) -> pa.Table:
        """Feature columns, as the engine contract says."""
        columns: dict[str, pa.ChunkedArray] = {}
        spill = Spill(self._settings.memory_limit, self._settings.scratch)
        for view, match in zip(self._plan.views, self._matches, strict=True):
            wanted = [feature.source for feature in view.features]
            for names in groups(wanted, match.scan.schema, len(self._rows), self._settings.memory_limit):
                values = gather(match.pieces, match.scan.schema, names, match.addresses, self._settings.threads)
                block = {
                    feature.output: conform(
                        values[feature.source], feature.declared, name=feature.source, location=match.scan.location
                    )
                    for feature in view.features
                    if feature.source in values
                }
                columns |= spill.keep(block)
                # Or this group would stay in memory until the next one is there.
                del values, block
        return pa.table({name: columns[name] for name in self._plan.outputs})

    def together(self) -> None:
        """Entity rows are here already."""

    def frame(self) -> None:
        """No DataFrames."""

    def explanation(self) -> Explanation:
        """The plan and, per view, what came of it."""
        count = len(self._rows)
        summary = (
            f"{count:,} entity rows x {len(self._plan.views)} feature views, "
            "matched on keys and times, features gathered by row address"
        )
        return Explanation("duckdb", summary, tuple(map(self._report, self._plan.views, self._matches)))

    def _report(self, view: ViewPlan, match: Match) -> ViewReport:
        matched = int(np.count_nonzero(match.addresses >= 0))
        names = [key for _, key in view.join_keys] + [view.time] + ([view.created] if view.created else [])
        return ViewReport(
            view=view.name,
            format=match.scan.format,
            location=match.scan.location,
            snapshot=match.scan.snapshot,
            pieces_read=len(match.pieces),
            pieces_total=match.total_pieces,
            columns=tuple(dict.fromkeys([*names, *(feature.source for feature in view.features)])),
            time_field=view.time,
            start=show(match.start),
            end=show(match.end),
            ttl=f"{view.ttl / 1_000_000:g} s" if view.ttl else "none",
            rows_read=match.rows_read,
            matched=matched,
            expired=match.expired,
            unmatched=len(self._rows) - matched - match.expired,
        )

    def _match(self, view: ViewPlan) -> Match:
        scan = self._settings.context.scan(view.source)
        check_columns(view, scan)
        unit = _unit(view, scan)
        newest = newest_allowed(self._rows.times, self._rows.time_unit, unit)
        oldest = oldest_allowed(self._rows.times, self._rows.time_unit, unit, view.ttl) if view.ttl else None
        null_times = self._rows.times == MISSING
        newest[null_times] = MISSING
        codes = self._codes(view, scan)
        start, end = span_of(view, self._rows)
        pieces = scan.pieces(Prune(view.time, start if view.ttl else None, end, self._wanted_keys(view, scan)))
        match = Match(
            scan, pieces, scan.total_pieces, np.full(len(newest), -1, np.int64), start if view.ttl else MISSING, end
        )
        earliest = int(oldest[~null_times].min()) if oldest is not None and not null_times.all() else MISSING + 1
        for block in self._blocks(len(newest)):
            addresses, times = self._match_block(view, match, unit, codes, newest, earliest, block)
            if oldest is not None:
                late = (addresses >= 0) & (times < oldest[block])
                addresses[late] = -1
                match.expired += int(np.count_nonzero(late))
            match.addresses[block] = addresses
        return match

    def _match_block(
        self, view: ViewPlan, match: Match, unit: str, codes: KeyCodes, newest: Int64s, earliest: int, block: slice
    ) -> tuple[Int64s, Int64s]:
        slots = Slots(
            codes.codes[block], newest[block], with_created=view.created is not None, in_order=not view.cutoff
        )
        keys = [key for _, key in view.join_keys]
        names = list(dict.fromkeys([*keys, view.time, *([view.created] if view.created else [])]))
        lock = threading.Lock()
        read = [0] * len(match.pieces)

        def offer(number: int) -> None:
            offset = 0
            for batch in match.pieces[number].read(names):
                count = batch.num_rows
                times = instants(batch.column(view.time), unit)
                created = instants(batch.column(view.created), unit if view.cutoff else None) if view.created else None
                coded = codes.look_up(
                    [canonical(batch.column(k), f, k) for k, f in zip(keys, codes.families, strict=True)], count
                )
                coded[times < earliest] = -1
                visible = times
                if view.cutoff and created is not None:
                    coded[created == MISSING] = -1
                    visible = np.maximum(times, created)
                address = np.arange(offset, offset + count, dtype=np.int64) + (number << PIECE_BITS)
                found = slots.locate(coded, times, created, visible, address)
                with lock:
                    slots.offer(found)
                offset += count
            read[number] = offset

        for _ in each(offer, range(len(match.pieces)), self._settings.threads):
            pass
        match.rows_read += sum(read)
        return slots.resolve()

    def _codes(self, view: ViewPlan, scan: Scan) -> KeyCodes:
        families = key_families(view, self._rows, scan)
        wanted = tuple((entity, kind) for (entity, _), kind in zip(view.join_keys, families, strict=True))
        if wanted not in self._numberings:
            columns = [self._key(entity, kind) for entity, kind in wanted]
            self._numberings[wanted] = KeyCodes.of(columns, families, len(self._rows))
        return self._numberings[wanted]

    def _key(self, entity: str, kind: str) -> pa.Array:
        if (entity, kind) not in self._keys:
            self._keys[entity, kind] = canonical(self._rows.column(entity), kind, entity)
        return self._keys[entity, kind]

    def _wanted_keys(self, view: ViewPlan, scan: Scan) -> dict[str, pa.Array]:
        """Distinct key values per source column, for partitions and statistics."""
        numbering = self._codes(view, scan)
        keys = [source for _, source in view.join_keys]
        return {key: column.values for key, column in zip(keys, numbering.columns, strict=True)}

    def _blocks(self, rows: int) -> list[slice]:
        """Stretches of entity rows whose matching state fits into a quarter of the memory limit; each reads the keys
        once more.
        """
        limit = self._settings.memory_limit
        size = max(rows, 1) if limit is None else max(limit // 4 // STATE_BYTES, 100_000)
        return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def _unit(view: ViewPlan, scan: Scan) -> str:
    """The unit a view is compared in: its event times' own, or the finer of event and created times when both bound
    visibility.
    """
    unit = unit_of(view.time, scan.schema.field(view.time).type, scan.location)
    if view.created:
        created = unit_of(view.created, scan.schema.field(view.created).type, scan.location)
        if view.cutoff and PER_SECOND[created] > PER_SECOND[unit]:
            return created
    return unit


def check_columns(view: ViewPlan, scan: Scan) -> None:
    """ColumnNotFoundError for a column that the view needs and the source lacks."""
    names: Sequence[str] = [
        *(source for _, source in view.join_keys),
        view.time,
        *([view.created] if view.created else []),
        *(feature.source for feature in view.features),
    ]
    for name in names:
        if name not in scan.schema.names:
            raise ColumnNotFoundError(
                f"feature view '{view.name}' needs column '{name}', which {scan.location} does not have",
                hint=nearest(name, scan.schema.names),
            )


def key_families(view: ViewPlan, rows: EntityRows, scan: Scan) -> list[str]:
    """Per join key what both sides are compared as; see ``codes``."""
    return [
        common_family(entity, rows.column(entity).type, source, scan.schema.field(source).type, scan.location)
        for entity, source in view.join_keys
    ]


def span_of(view: ViewPlan, rows: EntityRows) -> tuple[int, int]:
    """Oldest and newest instant any entity row can see, microseconds; the oldest is ``MISSING`` without a ttl."""
    real = rows.times[rows.times != MISSING]
    return span_between(view, int(real.min()), int(real.max()), rows.time_unit) if len(real) else (0, 0)


def span_between(view: ViewPlan, low: int, high: int, unit: str) -> tuple[int, int]:
    """The same of entity rows whose oldest and newest time are these."""
    ends = np.array([low, high])
    # Rounded outwards, so that no statistics of a source can hide a row that is wanted.
    exact = "ns" if unit == "ns" else "us"
    start = to_micros(oldest_allowed(ends, unit, exact, view.ttl), exact)[0] if view.ttl else MISSING
    return int(start), int(to_micros(ends, unit, up=True)[1])
