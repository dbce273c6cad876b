"""A fetch answered by Spark: as a table, as a DataFrame that stays there, or explained."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from yummy_feast.errors import RetrievalError
from yummy_feast.offline.conform import conform
from yummy_feast.offline.engines.base import Explanation, ViewReport
from yummy_feast.offline.engines.codes import common_family
from yummy_feast.offline.engines.matching import check_columns, span_between, span_of
from yummy_feast.offline.engines.spark_conform import as_declared
from yummy_feast.offline.engines.spark_join import SparkView, joined
from yummy_feast.offline.engines.spark_rows import ROW, Asked, asked_of, asked_of_frame, wanted_keys
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.frame_rows import FrameRows
from yummy_feast.offline.times import show, unit_of
from yummy_feast.sources.base import Prune, SourceContext
from yummy_feast.spark.arrow_rows import fetched
from yummy_feast.spark.carriers import restored
from yummy_feast.spark.columns import natural
from yummy_feast.spark.failures import spark_errors
from yummy_feast.spark.frames import frame_of
from yummy_feast.spark.kept import active_kept

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from yummy_feast.offline.plan import FeatureColumn, RetrievalPlan, ViewPlan
    from yummy_feast.sources.base import Scan


class SparkAnswer:
    """See ``FeatureAnswer``. Sources are looked at once, when something is asked for the first time; each question is
    one Spark job.
    """

    def __init__(self, plan: RetrievalPlan, rows: EntityRows, session: SparkSession, context: SourceContext) -> None:
        self._plan = plan
        self._rows = rows
        self._session = rows.session if isinstance(rows, FrameRows) else session
        self._context = context
        self._looked: list[_Look] | None = None
        self._explained: Explanation | None = None
        self._lock = threading.Lock()

    # ------------------------------------------------------------------------------------------- questions

    def table(self) -> pa.Table:
        """Feature columns, as the engine contract says."""
        with self._errors():
            looks, asked = self._looks(), self._asked(whole=False)
            found = _in_order(fetched(self._selected(looks, asked)))
        return self._restored(looks, found)

    def together(self) -> pa.Table | None:
        """Entity columns, then feature columns, where the entity rows live in Spark."""
        rows = self._rows
        if not isinstance(rows, FrameRows):
            return None
        with self._errors():
            looks, asked = self._looks(), self._asked(whole=True)
            found = _in_order(fetched(self._selected(looks, asked)))
        own = {name: rows.brought(found.column(f"u{number}"), name) for number, name in enumerate(asked.names)}
        features = self._restored(looks, found)
        return pa.table(own | dict(zip(features.column_names, features.columns, strict=True)))

    def frame(self) -> DataFrame:
        """Entity columns, then feature columns, as a lazy DataFrame in types that Spark's users expect; its rows are in
        no particular order, as in every DataFrame.
        """
        with self._errors():
            looks, asked = self._looks(), self._asked(whole=True)
            rows = joined(asked, [look.view for look in looks])
            own = [self._entity_column(number, name) for number, name in enumerate(asked.names)]
            outputs = {
                feature.output: as_declared(column, kind, feature, look.scan.location).alias(feature.output)
                for look in looks
                for feature, column, kind in look.features()
            }
            return rows.select(*own, *(outputs[name] for name in self._plan.outputs))

    def explanation(self) -> Explanation:
        """The plan and, per view, what came of it: one Spark job over keys and times."""
        with self._lock:
            if self._explained is None:
                with self._errors():
                    self._explained = self._explain()
            return self._explained

    # ---------------------------------------------------------------------------------------------- how

    @contextmanager
    def _errors(self) -> Iterator[None]:
        views = ", ".join(f"'{view.name}' of {view.source.location}" for view in self._plan.views)
        with active_kept(), spark_errors(f"feature view {views}"):
            yield

    def _asked(self, *, whole: bool) -> Asked:
        keys = self._plan.join_keys
        if isinstance(self._rows, FrameRows):
            return asked_of_frame(self._rows, keys, whole=whole)
        return asked_of(self._session, self._rows, keys, whole=whole)

    def _looks(self) -> list[_Look]:
        if self._looked is None:
            self._looked = [
                look_at(self._session, self._context, view, self._rows, number)
                for number, view in enumerate(self._plan.views)
            ]
        return self._looked

    def _selected(self, looks: Sequence[_Look], asked: Asked) -> DataFrame:
        users = [f"u{number}" for number in range(len(asked.names))]
        features = [column for look in looks for column in look.outputs()]
        return joined(asked, [look.view for look in looks]).select(ROW, *users, *features)

    def _restored(self, looks: Sequence[_Look], found: pa.Table) -> pa.Table:
        count = len(self._rows)
        if len(found) != count:
            raise RetrievalError(f"{count} entity rows became {len(found)} rows", hint="please report this")
        columns = {}
        for look in looks:
            for name, feature in zip(look.outputs(), look.view.plan.features, strict=True):
                kind = look.scan.schema.field(feature.source).type
                values = restored(found.column(name), kind)
                columns[feature.output] = conform(
                    values, feature.declared, name=feature.source, location=look.scan.location
                )
        return pa.table({name: columns[name] for name in self._plan.outputs})

    def _entity_column(self, number: int, name: str) -> Column:
        from pyspark.sql import functions as F  # noqa: N812

        column, rows = F.col(f"u{number}"), self._rows
        shown = rows.shown(column, name) if isinstance(rows, FrameRows) else natural(column, rows.column(name).type)
        return shown.alias(name)

    def _explain(self) -> Explanation:
        from pyspark.sql import functions as F  # noqa: N812

        looks, asked = self._looks(), self._asked(whole=False)
        flags = joined(asked, [look.view for look in looks], features=False)
        sums = [
            F.sum(F.col(f"{kind}{number}").cast("bigint")).alias(f"{kind}{number}")
            for number in range(len(looks))
            for kind in ("m", "x")
        ]
        row = flags.agg(F.count(F.lit(1)).alias("rows"), *sums).collect()[0].asDict()
        reports = tuple(
            look.report(row["rows"], row[f"m{number}"] or 0, row[f"x{number}"] or 0)
            for number, look in enumerate(looks)
        )
        shuffles = len({look.view.group for look in looks})
        summary = (
            f"{row['rows']:,} entity rows x {len(looks)} feature views, "
            f"{shuffles} {'shuffle' if shuffles == 1 else 'shuffles'} by join keys, one plan"
        )
        return Explanation("spark", summary, reports)


class _Look:
    """One view's source as it was found."""

    def __init__(self, view: SparkView, scan: Scan, start: int, end: int) -> None:
        self.view = view
        self.scan = scan
        self._start = start
        self._end = end
        self._rows = view.source.rows

    def outputs(self) -> list[str]:
        """Columns of the join that are this view's features."""
        return [f"f{self.view.number}_{number}" for number in range(len(self.view.plan.features))]

    def features(self) -> Iterator[tuple[FeatureColumn, Column, pa.DataType]]:
        """(feature, its column in the join, its Arrow type in the source)."""
        from pyspark.sql import functions as F  # noqa: N812

        for name, feature in zip(self.outputs(), self.view.plan.features, strict=True):
            yield feature, F.col(name), self.scan.schema.field(feature.source).type

    def report(self, rows: int, matched: int, expired: int) -> ViewReport:
        """See ``ViewReport``."""
        plan, scan, source = self.view.plan, self.scan, self.view.source
        if self._rows is None:
            self._rows = source.frame.count()
        return ViewReport(
            view=plan.name,
            format=scan.format,
            location=scan.location,
            snapshot=scan.snapshot,
            pieces_read=source.pieces,
            pieces_total=scan.total_pieces,
            columns=self.view.columns,
            time_field=plan.time,
            start=show(self._start),
            end=show(self._end),
            ttl=f"{plan.ttl / 1_000_000:g} s" if plan.ttl else "none",
            rows_read=self._rows,
            matched=matched,
            expired=expired,
            unmatched=rows - matched - expired,
        )


def look_at(session: SparkSession, context: SourceContext, view: ViewPlan, rows: EntityRows, number: int) -> _Look:
    """The view's source now, its columns checked, what cannot matter pruned."""
    scan = context.scan(view.source)
    check_columns(view, scan)
    for name in filter(None, (view.time, view.created)):
        unit_of(name, scan.schema.field(name).type, scan.location)
    families = tuple(
        common_family(entity, _kind(rows, entity), source, scan.schema.field(source).type, scan.location)
        for entity, source in view.join_keys
    )
    start, end = _span(view, rows)
    keys = {} if isinstance(rows, FrameRows) else wanted_keys(rows, view.join_keys, families)
    prune = Prune(view.time, start if view.ttl else None, end, keys)
    own = [key for _, key in view.join_keys] + [view.time] + ([view.created] if view.created else [])
    columns = tuple(dict.fromkeys([*own, *(feature.source for feature in view.features)]))
    source = frame_of(session, scan, columns, prune)
    kinds = tuple(scan.schema.field(name).type for name in columns)
    return _Look(SparkView(number, view, families, columns, kinds, source), scan, start, end)


def _kind(rows: EntityRows, name: str) -> pa.DataType:
    return rows.kind(name) if isinstance(rows, FrameRows) else rows.column(name).type


def _span(view: ViewPlan, rows: EntityRows) -> tuple[int, int]:
    """See ``matching.span_of``."""
    if not isinstance(rows, FrameRows):
        return span_of(view, rows)
    _, low, high = rows.measured()
    if low is None or high is None:
        return 0, 0
    return span_between(view, low, high, rows.time_unit)


def _in_order(found: pa.Table) -> pa.Table:
    """The rows by row number, in one chunk."""
    found = found.combine_chunks()
    numbers = found.column(ROW).to_numpy()
    if len(numbers) < 2 or bool((numbers[1:] > numbers[:-1]).all()):
        return found
    return found.take(pa.array(np.argsort(numbers)))
