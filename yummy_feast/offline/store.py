"""YummyOfflineStore: Feast's offline store interface, turned into plans for an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from feast.data_source import DataSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalMetadata

from yummy_feast.errors import ConfigError, EntityRowsError, RetrievalError
from yummy_feast.offline import plan as plans
from yummy_feast.offline.config import YummyOfflineStoreConfig, engine_settings
from yummy_feast.offline.engines.base import Engine
from yummy_feast.offline.engines.table import engine_of
from yummy_feast.offline.entity_rows import EntityRows, SelectAll
from yummy_feast.offline.every_entity import every_entity
from yummy_feast.offline.frame_rows import FrameRows, is_spark_frame
from yummy_feast.offline.job import HistoricalAnswer, RangeAnswer, YummyRetrievalJob
from yummy_feast.offline.lockfile import replayed
from yummy_feast.offline.lockfile_record import FetchRecord
from yummy_feast.offline.newest import Newest, NewestParts
from yummy_feast.offline.plan import ReadPlan, RetrievalPlan
from yummy_feast.sources import storage as _storage  # noqa: F401 - Feast knows its classes once it is imported
from yummy_feast.sources.adapt import as_yummy_source
from yummy_feast.sources.parquet import ParquetSource

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.feature_logging import LoggingConfig, LoggingSource
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.repo_config import RepoConfig

    from yummy_feast.sources.base import SourceContext, YummySource

__all__ = ["YummyOfflineStore", "YummyOfflineStoreConfig"]


class YummyOfflineStore(OfflineStore):
    """Historical features over Parquet, CSV, Delta and Iceberg, mixed in one fetch."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **kwargs: Any,
    ) -> YummyRetrievalJob:
        """The features of each entity row, as the rule in ``offline.plan`` says.

        entity_df: pandas, Arrow, a Spark DataFrame, a path to Parquet (``pathlib.Path`` or text ending in .parquet),
        SQL over the sources of the registry, ``select_all(timestamp)``, or None with ``start_date``/``end_date`` for
        every (entity, event time) of the range.

        Raises:
            EntityRowsError, NameCollisionError, SourceError and its children: each names the column and the fix.
        """
        plan = plans.build(
            feature_views,
            feature_refs,
            registry,
            project,
            full_feature_names=full_feature_names,
            cutoff=bool(kwargs.get("filter_by_created_timestamp")),
        )
        settings = engine_settings(config)
        record = FetchRecord(
            plan,
            settings.context,
            project=project,
            engine=config.offline_store.engine,
            cutoff=bool(kwargs.get("filter_by_created_timestamp")),
            lock=replayed(),
        )
        engine = engine_of(config.offline_store.engine, replace(settings, context=record.context))
        record.repeats_cheaply = engine.repeats_cheaply
        rows = _entity_rows(config, engine, plan, feature_views, entity_df, registry, project, kwargs, record)
        plan.check(rows.names)
        record.asked(rows)
        oldest, newest = rows.span()
        metadata = RetrievalMetadata(
            features=list(feature_refs),
            keys=[name for name in rows.names if name != rows.time_column],
            min_event_timestamp=oldest,
            max_event_timestamp=newest,
        )
        return YummyRetrievalJob(
            HistoricalAnswer(plan, rows, engine.point_in_time(plan, rows)),
            settings.context,
            record=record,
            metadata=metadata,
            full_feature_names=full_feature_names,
            on_demand=plan.on_demand,
            staging=config.offline_store.staging_location,
        )

    @staticmethod
    def newest(config: RepoConfig, reads: Sequence[ReadPlan]) -> Newest:
        """The newest row per key of each read, for materialization; the reads differ in keys and features alone."""
        return _engine(config).newest(reads)

    @staticmethod
    def newest_parts(config: RepoConfig, reads: Sequence[ReadPlan]) -> NewestParts | None:
        """The same in parts that stay on the machines which compute them; None where the engine has but this one."""
        return _engine(config).newest_parts(reads)

    @staticmethod
    def state(config: RepoConfig, source: YummySource) -> str:
        """What there is to read of a source now, see ``Scan.state``."""
        return source.scan(engine_settings(config).context).state

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> YummyRetrievalJob:
        """For each key the newest row of the range, both ends included; rows without a key or a time are left out.

        No feature columns means every column.
        """
        read = _read(
            config,
            data_source,
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            start_date,
            end_date,
        )
        return _range_job(config, read, "latest")

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> YummyRetrievalJob:
        """Every row of the range, both ends included, in the source's order. No feature columns means every column."""
        read = _read(
            config,
            data_source,
            join_key_columns,
            feature_name_columns,
            timestamp_field,
            created_timestamp_column,
            start_date,
            end_date,
        )
        return _range_job(config, read, "between")

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Append rows to the view's batch source in its own format, all or nothing.

        Raises:
            ColumnNotFoundError, ColumnTypeError: the table does not fit the source.
        """
        if feature_view.batch_source is None:
            raise RetrievalError(
                f"feature view '{feature_view.name}' has no batch source", hint="give it one to write to"
            )
        # Feast has renamed the columns by the source's field mapping (passthrough_provider.py,
        # ingest_df_to_offline_store); the source wants its own names back.
        stored = plans.source_names(feature_view)
        table = table.rename_columns([stored.get(name, name) for name in table.column_names])
        source, context = as_yummy_source(feature_view.batch_source), engine_settings(config).context
        source.append(_without_pandas_index(table, source, context), context)
        if progress:
            progress(len(table))

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Append logs (a table, or a folder of Parquet files) to the logging destination, creating it on first use."""
        import pyarrow.parquet as pq

        table = pq.read_table(data) if isinstance(data, Path) else data
        destination = as_yummy_source(logging_config.destination.to_data_source())
        destination.append(table, engine_settings(config).context, create=True)


def _without_pandas_index(table: pa.Table, source: YummySource, context: SourceContext) -> pa.Table:
    """Feast makes tables of frames that were filtered or sorted, whose index is then a column that nobody declared."""
    index = {name for name in table.column_names if name.startswith("__index_level_")}
    return table.drop_columns(sorted(index.difference(source.scan(context).schema.names))) if index else table


def _engine(config: RepoConfig) -> Engine:
    return engine_of(config.offline_store.engine, engine_settings(config))


def _entity_rows(
    config: RepoConfig,
    engine: Engine,
    plan: RetrievalPlan,
    feature_views: Sequence[FeatureView],
    entity_df: Any,
    registry: BaseRegistry,
    project: str,
    kwargs: dict[str, Any],
    record: FetchRecord,
) -> EntityRows:
    import pandas as pd
    from feast.utils import compute_non_entity_date_range

    if entity_df is None:
        start, end = compute_non_entity_date_range(
            list(feature_views), start_date=kwargs.get("start_date"), end_date=kwargs.get("end_date")
        )
        start, end = record.range(start, end, kwargs)
        return every_entity(engine, plan, micros(start), micros(end))
    if isinstance(entity_df, SelectAll):
        record.given("select_all", end=entity_df.timestamp)
        return every_entity(engine, plan, None, micros(entity_df.timestamp), as_of=entity_df.timestamp)
    if is_spark_frame(entity_df):
        return FrameRows(entity_df)
    if isinstance(entity_df, pd.DataFrame):
        return EntityRows.of_pandas(entity_df)
    if isinstance(entity_df, (pa.Table, pa.RecordBatch)):
        return EntityRows.of_arrow(pa.table(entity_df))
    if isinstance(entity_df, Path) or (isinstance(entity_df, str) and entity_df.endswith(".parquet")):
        record.given("parquet", str(entity_df))
        source = ParquetSource(path=str(entity_df), timestamp_field=plans.EVENT_TIMESTAMP)
        return engine.source_rows(source, engine_settings(config).context)
    if isinstance(entity_df, str):
        record.given("sql", entity_df)
        return engine.query_rows(entity_df, _sources(registry, project, entity_df))
    raise EntityRowsError(
        f"entity_df is a {type(entity_df).__name__}",
        hint="pass a pandas or Spark DataFrame, an Arrow table, a path to Parquet, SQL, or select_all(timestamp)",
    )


def _sources(registry: BaseRegistry, project: str, sql: str) -> dict[str, YummySource]:
    """The registry's sources by name. One that we cannot read is an error only where the text may mean it."""
    found = {}
    for source in registry.list_data_sources(project):
        if _readable(source):
            try:
                found[source.name] = as_yummy_source(source)
            except ConfigError:
                if source.name.casefold() in sql.casefold():
                    raise
    return found


def _readable(source: DataSource) -> bool:
    """Whether rows can be read from it: request sources and bare streams have none."""
    from feast.data_source import KafkaSource, KinesisSource, PushSource, RequestSource

    if isinstance(source, RequestSource):
        return False
    return not isinstance(source, (KafkaSource, KinesisSource, PushSource)) or source.batch_source is not None


def _read(
    config: RepoConfig,
    source: DataSource,
    join_keys: Sequence[str],
    features: Sequence[str],
    time: str,
    created: str | None,
    start: datetime | None,
    end: datetime | None,
) -> ReadPlan:
    keys = tuple(key for key in join_keys if key != "__dummy_id")
    ours = as_yummy_source(source)
    # A view with a transformation asks for none and wants them all (feature_builder.py of Feast, get_column_info).
    features = features or ours.scan(engine_settings(config).context).schema.names
    return ReadPlan(ours, keys, tuple(features), time, created or None, micros(start), micros(end))


def _range_job(config: RepoConfig, read: ReadPlan, what: str) -> YummyRetrievalJob:
    engine = _engine(config)
    stream = engine.latest if what == "latest" else engine.between
    title = "the newest row per key" if what == "latest" else "all rows"
    metadata = RetrievalMetadata(features=list(read.features), keys=list(read.join_keys))
    return YummyRetrievalJob(
        RangeAnswer(read, stream, title, engine),
        engine.settings.context,
        metadata=metadata,
        staging=config.offline_store.staging_location,
    )


def micros(moment: datetime | None) -> int | None:
    """A moment as microseconds since 1970; without a zone it is UTC, as Feast means it."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
