"""What `/push` and `/write-to-online-store` do: find the views, check every row for all of them, then write.

Nothing is written before everything was checked. Should a store fail half-way, the refusal names what was written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from yummy_feast.errors import nearest
from yummy_feast.serving.features import refusals
from yummy_feast.serving.features.bodies import PushRequest, WriteRequest
from yummy_feast.serving.features.frames import Columns, Row, Shape, columns_of, offline_frame, rows_of
from yummy_feast.serving.http import RefusedError

if TYPE_CHECKING:
    import pandas as pd
    from feast.infra.registry.base_registry import BaseRegistry

    from yummy_feast.serving.features.own_store import OwnStore
    from yummy_feast.serving.features.sinks import Sink
    from yummy_feast.serving.features.snapshot import Registries

_T = TypeVar("_T")

# Beside the threads of requests that read: rows are made of a large body in seconds.
_THREADS: Final = 4
_AGAIN: Final = "some rows may have been written, and sending all of them again is safe: online the newest stays"

Permit = Callable[[Sequence[Any], bool, bool], None]
"""Whether the caller may write these views (online, offline). Raises RefusedError."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows of one view, ready for the online store."""

    view: Any
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class PreparedOffline:
    """Rows for one source, ready for the offline store."""

    view: Any
    frame: pd.DataFrame


class Writing:
    """Writes rows of requests.

    Args:
        own: for its provider, and for requests that want the registry as it is now.
        registries: for all others.
        sink: the online store.
        project: of the repository.
    """

    def __init__(self, own: OwnStore, registries: Registries, sink: Sink, project: str) -> None:
        self._own = own
        self._registries = registries
        self._sink = sink
        self._project = project
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="feature-writes")

    async def push(self, request: PushRequest, permit: Permit, defer: Callable[[PreparedOffline], None] | None) -> None:
        """Write the rows of a push. ``defer`` takes those for the offline store instead of us. RefusedError."""
        is_online, is_offline = request.to != "offline", request.to != "online"
        views = await self._in_thread(
            lambda: self._views_of(request.push_source_name, self._registry(request.allow_registry_cache))
        )
        permit(views, is_online, is_offline)

        def prepare() -> tuple[list[Prepared], list[PreparedOffline]]:
            columns = columns_of(request.df)
            online = [self._online(view, columns, request.transform_on_write) for view in views if is_online]
            # One source, however many views: their rows are the same rows.
            by_source = {view.batch_source.name: view for view in views if view.batch_source} if is_offline else {}
            return online, [self._offline(view, columns) for view in by_source.values()]

        online, offline = await self._in_thread(prepare)
        done: list[str] = []
        await self._write_online(online, done)
        for prepared in offline:
            # Whoever fills a batch appends it.
            await self._in_thread(partial(self._append, prepared, done) if defer is None else partial(defer, prepared))

    async def write(self, request: WriteRequest, permit: Permit) -> None:
        """Write the rows of one view online. RefusedError."""
        view = await self._in_thread(
            lambda: self._view(request.feature_view_name, self._registry(request.allow_registry_cache))
        )
        permit([view], True, False)
        prepared = await self._in_thread(lambda: self._online(view, columns_of(request.df), request.transform_on_write))
        await self._write_online([prepared], [])

    def append(self, prepared: PreparedOffline) -> None:
        """Append rows to a view's source. Blocks; RefusedError."""
        self._append(prepared, [])

    def close(self) -> None:
        """End the threads, when they are done with what they do."""
        self._threads.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        # The caller is known to Feast by a variable of the context.
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work)

    # ------------------------------------------------------------------------------------------------ which views

    def _registry(self, may_be_old: bool) -> tuple[BaseRegistry, bool]:
        return (self._registries.current.registry, True) if may_be_old else (self._own.get().registry, False)

    def _views_of(self, source: str, found: tuple[BaseRegistry, bool]) -> list[Any]:
        """The views of a push source, in the order of their names."""
        from feast.data_source import PushSource

        registry, cached = found
        fed: list[tuple[Any, Any]] = [
            (view, view.stream_source)
            for listing in (registry.list_feature_views, registry.list_stream_feature_views)
            for view in listing(self._project, allow_cache=cached)
        ]
        fed += [(view, view.source) for view in registry.list_label_views(self._project, allow_cache=cached)]
        pushed = [(view, stream.name) for view, stream in fed if isinstance(stream, PushSource)]
        views = {view.name: view for view, name in pushed if name == source}
        if not views:
            raise RefusedError(
                404,
                "PUSH_SOURCE_NOT_FOUND",
                f"no feature view has a push source {source!r}",
                nearest(source, {name for _, name in pushed}),
            )
        return [views[name] for name in sorted(views)]

    def _view(self, name: str, found: tuple[BaseRegistry, bool]) -> Any:
        from feast.errors import FeatureViewNotFoundException

        registry, cached = found
        try:
            return registry.get_any_feature_view(name, self._project, allow_cache=cached)
        except FeatureViewNotFoundException:
            names = [view.name for view in registry.list_all_feature_views(self._project, allow_cache=cached)]
            raise RefusedError(
                404, "FEATURE_VIEW_NOT_FOUND", f"there is no feature view {name!r}", nearest(name, names)
            ) from None

    # ------------------------------------------------------------------------------------------------ which rows

    def _online(self, view: Any, columns: Columns, transforms: bool) -> Prepared:
        from feast import OnDemandFeatureView

        if isinstance(view, OnDemandFeatureView):
            return Prepared(view, self._computed(view, columns, transforms))
        shape = Shape.of(view)
        rows = rows_of(shape, columns)
        vectors = [field.name for field in view.features if field.vector_index]
        if vectors:
            self._refuse_odd_vectors(view, {name: columns[name] for name in vectors if name in columns})
        return Prepared(view, rows)

    def _computed(self, view: Any, columns: Columns, transforms: bool) -> list[Row]:
        """Rows of an on-demand feature view that is computed when it is written."""
        import pandas as pd
        from feast.infra.passthrough_provider import PassthroughProvider

        if not view.write_to_online_store:
            raise RefusedError(
                422,
                "VIEW_NOT_WRITABLE",
                f"on-demand feature view {view.name!r} is computed when it is read",
                "set write_to_online_store=True in its definition to write it",
            )
        keys = [field.name for field in view.entity_columns]
        for name in keys:
            if name not in columns:
                raise RefusedError(
                    422,
                    "MISSING_JOIN_KEY",
                    f"feature view {view.name!r} needs its join key as column {name!r} of df",
                    nearest(name, columns),
                )
        frame = pd.DataFrame(columns)
        try:
            if transforms:
                frame = self._own.get()._transform_on_demand_feature_view_df(view, frame)
            rows: list[Row] = PassthroughProvider._prep_rows_to_write_for_ingestion(view, frame)
        # The code of users, and Feast's with what it answered.
        except Exception as error:
            raise refusals.of_transformation(error, [view.name]) from error
        return rows

    def _refuse_odd_vectors(self, view: Any, vectors: Columns) -> None:
        import pandas as pd

        try:
            self._own.get()._validate_vector_features(view, pd.DataFrame(vectors))
        except ValueError as error:
            raise RefusedError(422, "INVALID_VALUES", str(error), "send vectors of the declared length") from error

    def _offline(self, view: Any, columns: Columns) -> PreparedOffline:
        """Rows with exactly the columns of the source, as Feast wants them."""
        frame = offline_frame(Shape.of(view), columns)
        try:
            provider = self._own.provider
            stored = provider.get_table_column_names_and_types_from_data_source(
                self._own.get().config, view.batch_source
            )
            names = [name for name, _ in stored]
        # Offline stores raise what they like.
        except Exception as error:
            raise refusals.of_offline(error) from error
        missing, unknown = set(names) - set(frame.columns), set(frame.columns) - set(names)
        if missing or unknown:
            lacks = f"lacks {', '.join(map(repr, sorted(missing)))}" if missing else ""
            has = f"has {', '.join(map(repr, sorted(unknown)))} too" if unknown else ""
            raise RefusedError(
                422,
                "COLUMNS_DIFFER",
                f"df {' and '.join(filter(None, (lacks, has)))}: it is not what {view.batch_source.name!r} stores",
                f"send exactly its columns: {', '.join(names)}",
            )
        return PreparedOffline(view, frame.reindex(columns=names))

    # ------------------------------------------------------------------------------------------------ writing them

    async def _write_online(self, prepared: Sequence[Prepared], done: list[str]) -> None:
        for one in prepared:
            try:
                await self._sink.write(one.view, one.rows)
            except RefusedError as error:
                raise _half(error, done, f"feature view {one.view.name!r} online") from error
            done.append(f"feature view {one.view.name!r} online")

    def _append(self, prepared: PreparedOffline, done: list[str]) -> None:
        import pyarrow as pa

        source = prepared.view.batch_source.name
        try:
            table = pa.Table.from_pandas(prepared.frame, preserve_index=False)
            self._own.provider.ingest_df_to_offline_store(prepared.view, table)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            refusal = RefusedError(
                422, "INVALID_VALUES", f"df does not fit {source!r}: {error}", "send values of the source's types"
            )
            raise _half(refusal, done, f"source {source!r}") from error
        # Offline stores raise what they like.
        except Exception as error:
            raise _half(refusals.of_offline(error), done, f"source {source!r}") from error
        done.append(f"source {source!r}")


def _half(error: RefusedError, done: Sequence[str], failed: str) -> RefusedError:
    """The refusal with what was written before it, and what may have been."""
    message = error.message
    if done:
        message += f"; {failed} was not written, but before it: {', '.join(done)}"
    hint = "; ".join(filter(None, (error.hint, _AGAIN if done or error.status == 503 else "")))
    return RefusedError(error.status, error.code, message, hint, close=error.close)
