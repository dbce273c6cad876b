"""Runs a world through an offline store: writes its sources as Parquet, makes feature views, fetches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureView, Field
from feast.data_source import DataSource
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob
from feast.infra.registry.registry import Registry
from feast.repo_config import RepoConfig
from feast.types import Bytes, FeastType, Float64, Int32, Int64, String

from tests.property.worlds import Source, Use, World

PROJECT = "worlds"
DECLARED: dict[str, FeastType] = {
    "int32": Int32,
    "int64": Int64,
    "string": String,
    "large_string": String,
    str(pa.dictionary(pa.int32(), pa.string())): String,
    "binary": Bytes,
    "double": Float64,
}

MakeSource = Callable[..., DataSource]


class Repo:
    """A project in ``folder`` with that ``offline_store`` block; its registry is empty and stays so."""

    def __init__(
        self, folder: Path, offline_store: dict[str, Any], store: OfflineStore, make_source: MakeSource
    ) -> None:
        self.folder = folder
        self.store = store
        self.make_source = make_source
        self.config = RepoConfig(
            project=PROJECT,
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store=offline_store,
            online_store=None,
            repo_path=folder,
            entity_key_serialization_version=3,
        )
        self.registry = Registry(PROJECT, self.config.registry, folder)

    def fetch(self, world: World, entity_df: Any) -> RetrievalJob:
        """The job that answers ``world``, its entity rows given as ``entity_df``."""
        views = [self.feature_view(use) for use in world.uses]
        options = {"filter_by_created_timestamp": True} if world.created_cutoff else {}
        return self.store.get_historical_features(
            self.config,
            views,
            [f"{use.name}:{feature}" for use in world.uses for feature in use.features],
            entity_df,
            self.registry,
            PROJECT,
            full_feature_names=world.full_names,
            **options,
        )

    def entity_df(self, world: World) -> Any:
        """The entity rows in one of the forms that users have them in."""
        if world.form == "pandas":
            return world.entity_rows.to_pandas()
        if world.form == "arrow":
            return world.entity_rows
        path = self.folder / "entity_rows.parquet"
        pq.write_table(world.entity_rows, path)
        return path

    def feature_view(self, use: Use) -> FeatureView:
        source = use.source
        types = {source.mapping.get(field.name, field.name): str(field.type) for field in source.table.schema}
        columns = [*source.keys, *(name for name in types if name.startswith(source.name))]
        view = FeatureView(
            name=source.name,
            entities=[
                Entity(name=f"the_{key}", join_keys=[key], value_type=DECLARED[types[key]].to_value_type())
                for key in source.keys
            ],
            schema=[Field(name=name, dtype=DECLARED[types[name]]) for name in columns],
            source=self.make_source(
                name=f"{source.name}_source",
                path=self.write(source),
                timestamp_field="event",
                created_timestamp_column="created" if source.created else "",
                field_mapping=dict(source.mapping),
            ),
            ttl=source.ttl,
        )
        if use.alias:
            view = view.with_name(use.alias)
            renamed = {key: column for key, column in use.key_columns.items() if key != column}
            view = view.with_join_key_map(renamed) if renamed else view
        return view

    def write(self, source: Source) -> str | list[str]:
        """One file or several, in small row groups, so that the source's order crosses their borders."""
        ends = (*source.cuts[1:], source.table.num_rows)
        paths: list[str] = []
        for start, end in zip(source.cuts, ends, strict=True):
            paths.append(str(self.folder / f"{source.name}_{len(paths)}.parquet"))
            pq.write_table(source.table.slice(start, end - start), paths[-1], row_group_size=4)
        return paths if len(paths) > 1 else paths[0]
