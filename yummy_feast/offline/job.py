"""The one retrieval job: whatever was asked, it hands out rows as pandas or Arrow, keeps them, or explains them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage

from yummy_feast.errors import ConfigError, LockfileError, RetrievalError
from yummy_feast.offline.engines.base import Engine, Explanation, FeatureAnswer
from yummy_feast.offline.entity_rows import EntityRows
from yummy_feast.offline.plan import EVENT_TIMESTAMP, ReadPlan, RetrievalPlan
from yummy_feast.offline.times import show
from yummy_feast.sources.adapt import as_yummy_source
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.parquet import ParquetSource
from yummy_feast.sources.storage import SavedDatasetYummyStorage

if TYPE_CHECKING:
    import pandas as pd
    from feast import OnDemandFeatureView
    from feast.saved_dataset import ValidationReference

    from yummy_feast.offline.lockfile import Lockfile
    from yummy_feast.offline.lockfile_record import FetchRecord

DUMMY_ENTITY_ID = "__dummy_id"


class Answer(Protocol):
    """Rows that somebody asked for, not computed yet."""

    def arrow(self, *, partial: bool = False) -> pa.Table:
        """All rows; ``partial`` leaves out entity columns that Arrow cannot hold."""

    def originals(self) -> pd.DataFrame | None:
        """Columns that ``to_df`` gives back as they came, or None."""

    def frame(self) -> Any | None:
        """The rows as a lazy Spark DataFrame, or None where the engine has none."""

    def explanation(self) -> Explanation:
        """How the rows come about."""


class HistoricalAnswer:
    """Entity rows and the features visible to each."""

    def __init__(self, plan: RetrievalPlan, rows: EntityRows, features: FeatureAnswer) -> None:
        self._plan = plan
        self._rows = rows
        self._features = features

    def arrow(self, *, partial: bool = False) -> pa.Table:
        """The entity columns, then the features in the order they were asked for."""
        together = self._features.together()
        if together is not None:
            return together
        table = self._rows.table(partial=partial)
        features = self._features.table()
        if len(features.column_names) and len(features) != len(self._rows):
            raise RetrievalError(
                f"{len(self._rows)} entity rows became {len(features)} rows", hint="please report this"
            )
        for name, column in zip(features.column_names, features.columns, strict=True):
            table = table.append_column(name, column)
        return table

    def originals(self) -> pd.DataFrame | None:
        """The entity rows, if they came as pandas."""
        return self._rows.frame

    def frame(self) -> Any | None:
        """The engine's own."""
        return self._features.frame()

    def explanation(self) -> Explanation:
        """The engine's own."""
        return self._features.explanation()


class RangeAnswer:
    """Rows of one source inside a time range: all of them, or the newest per key."""

    def __init__(
        self, read: ReadPlan, stream: Callable[[ReadPlan], pa.RecordBatchReader], what: str, engine: Engine
    ) -> None:
        self.read = read
        self._stream = stream
        self._what = what
        self._engine = engine

    def reader(self) -> pa.RecordBatchReader:
        """The rows as a stream."""
        return self._stream(self.read)

    def arrow(self, *, partial: bool = False) -> pa.Table:
        """The rows as one table; without join keys Feast expects a column ``__dummy_id`` (offline_store.py of Feast
        0.67).
        """
        table = self.reader().read_all().combine_chunks()
        if not self.read.join_keys:
            table = table.append_column(DUMMY_ENTITY_ID, pa.array([""] * len(table), pa.string()))
        return table

    def originals(self) -> pd.DataFrame | None:
        """Nothing came in."""
        return None

    def frame(self) -> Any | None:
        """The engine's own."""
        from_engine = self._engine.range_frame(self.read, newest=self._stream == self._engine.latest)
        if from_engine is None or self.read.join_keys:
            return from_engine
        from pyspark.sql import functions as F  # noqa: N812

        return from_engine.withColumn(DUMMY_ENTITY_ID, F.lit(""))

    def explanation(self) -> Explanation:
        """What would be read."""
        read = self.read
        start = "the beginning" if read.start is None else show(read.start)
        end = "the end" if read.end is None else show(read.end)
        columns = ", ".join(read.columns)
        return Explanation(self._engine.name, f"{self._what} of {read.source.name} from {start} to {end}: {columns}")


class YummyRetrievalJob(RetrievalJob):
    """What every method of the offline store returns."""

    def __init__(
        self,
        answer: Answer,
        context: SourceContext,
        *,
        record: FetchRecord | None = None,
        metadata: RetrievalMetadata | None = None,
        full_feature_names: bool = False,
        on_demand: tuple[OnDemandFeatureView, ...] = (),
        staging: str | None = None,
    ) -> None:
        self.answer = answer
        self._context = context
        self._record = record
        self._metadata = metadata
        self._full_feature_names = full_feature_names
        self._on_demand = list(on_demand)
        self._staging = staging
        self._partial = False

    def explain(self) -> None:
        """Print how the rows come about: sources, snapshots, columns, time ranges, rows matched, expired and unmatched.

        Matching is done for this (and kept for ``to_df`` and ``to_arrow``); features are not read.
        """
        import click

        click.echo(str(self.explanation()))

    def explanation(self) -> Explanation:
        """The same as data."""
        return self.answer.explanation()

    def lockfile(self, *, checksums: bool | None = None) -> Lockfile:
        """What this fetch read, as a file to keep; see ``Lockfile``. After ``to_df`` or ``to_arrow`` it has a digest of
        the answer too, by which a replay is proven to be the same.

        checksums: of the files of Parquet and CSV sources. None: of local files and those without an ETag; they are
        read whole for it. True: of all. False: of none; only files that nobody touched are then known to be the same.

        Raises:
            SourceMovedError: a file changed after it was read. LockfileError: not a fetch of historical features.
        """
        if self._record is None:
            raise LockfileError("lockfiles are of historical features", hint="use store.get_historical_features")
        whole = copy(self)
        whole._partial = True
        return self._record.lockfile(checksums=checksums, again=partial(RetrievalJob.to_arrow, whole))

    def to_arrow(self, validation_reference: ValidationReference | None = None, timeout: int | None = None) -> pa.Table:
        """The rows as an Arrow table; arguments as in Feast.

        Raises:
            LockfileError: in a replay, the answer is not the one it was.
        """
        table = super().to_arrow(validation_reference=validation_reference, timeout=timeout)
        if self._record is not None:
            self._record.answered(table)
        return table

    def to_df(
        self, validation_reference: ValidationReference | None = None, timeout: int | None = None
    ) -> pd.DataFrame:
        """The rows as pandas; entity columns keep their dtypes, times are UTC.

        validation_reference, timeout: as in Feast; an embedded engine has no timeout.
        """
        originals = self.answer.originals()
        # Feast's own to_arrow runs on-demand views and validation; it asks _to_arrow_internal for the rows.
        job = copy(self)
        job._partial = originals is not None
        table = job.to_arrow(validation_reference=validation_reference, timeout=timeout)
        if originals is None:
            return table.to_pandas().reset_index(drop=True)
        import pandas as pd

        fresh = table.select([name for name in table.column_names if name not in originals.columns]).to_pandas()
        return pd.concat([originals, fresh], axis=1) if len(fresh.columns) else originals.copy()

    def to_record_batch_reader(self) -> pa.RecordBatchReader:
        """The rows as a stream, where on-demand views do not need them whole."""
        if isinstance(self.answer, RangeAnswer) and self.answer.read.join_keys and not self._on_demand:
            return self.answer.reader()
        return self.to_arrow().to_reader()

    def to_spark_df(self) -> Any:
        """The rows as a Spark DataFrame, in no particular order; nothing is computed until Spark is asked to, unless
        on-demand views or a lockfile have to see the rows.

        Raises:
            RetrievalError: the engine is not spark. LockfileError: as of ``to_arrow``.
        """
        frame = self.answer.frame()
        if frame is None:
            raise RetrievalError(
                "to_spark_df needs the engine spark",
                hint="set offline_store.engine: spark, or use session.createDataFrame(job.to_arrow())",
            )
        if not self._comes_here:
            return frame
        from yummy_feast.spark.arrow_rows import sent

        return sent(frame.sparkSession, self.to_arrow(), frame.schema)

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the rows to a saved dataset's storage, in its own format; all or nothing. Spark writes folders of
        Parquet itself, as many files as it has tasks, unless on-demand views or a lockfile have to see the rows.

        Raises:
            SavedDatasetLocationAlreadyExists: something is there and ``allow_overwrite`` is false.
            LockfileError: as of ``to_arrow``. SourceReadError: what Spark wrote is not where it belongs.
        """
        source = as_yummy_source(storage.to_data_source())
        frame = self._frame() if source.takes_files and not source.has_own_store(self._context) else None
        if frame is None:
            source.replace(self.to_arrow(timeout=timeout), self._context, allow_overwrite=allow_overwrite)
            return
        from yummy_feast.spark.writing import write_parquet

        source.replace_by(lambda folder: write_parquet(frame, folder), self._context, allow_overwrite=allow_overwrite)

    def supports_remote_storage_export(self) -> bool:
        """Whether ``staging_location`` is set."""
        return self._staging is not None

    def to_remote_storage(self) -> list[str]:
        """Write the rows as Parquet files into a new folder below ``staging_location``; the files' paths.

        Raises:
            ConfigError: there is no ``staging_location``.
        """
        if self._staging is None:
            raise ConfigError(
                "to_remote_storage needs a place",
                hint="set offline_store.staging_location to a folder or a path like s3://",
            )
        source = ParquetSource(path=f"{self._staging.rstrip('/')}/{uuid.uuid4().hex}", timestamp_field=EVENT_TIMESTAMP)
        self.persist(SavedDatasetYummyStorage(source))
        return [file.location.uri for file in source.files(self._context)]

    @property
    def _comes_here(self) -> bool:
        """Whether on-demand views compute with the rows, or a lockfile is to prove them, wherever they go then."""
        return bool(self._on_demand) or (self._record is not None and self._record.proves)

    def _frame(self) -> Any | None:
        """The rows in Spark, if they may stay there."""
        return None if self._comes_here else self.answer.frame()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self.answer.arrow().to_pandas()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self.answer.arrow(partial=self._partial)

    @property
    def full_feature_names(self) -> bool:
        """As asked."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Views computed from the rows."""
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Feature references, keys and the span of entity times."""
        return self._metadata
