"""`feature_server.offline_push_batching_*`: offline rows of pushes are gathered and appended together.

Feast's own batcher does it; what it hands back is appended as any other push is.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from yummy_feast.errors import ConfigError
from yummy_feast.serving.features.writing import PreparedOffline, Writing

if TYPE_CHECKING:
    import pandas as pd
    from feast import RepoConfig
    from feast.feature_server import OfflineWriteBatcher


class OfflineBatches:
    """Rows on their way to the offline store, in memory of this process until they are appended.

    Args:
        writing: appends them.
        size, seconds: rows, and time, after which they are.
    """

    def __init__(self, writing: Writing, size: int, seconds: int) -> None:
        self._writing = writing
        self._views: dict[str, Any] = {}
        self._size = size
        self._seconds = seconds
        self._batcher: OfflineWriteBatcher | None = None
        self._lock = threading.Lock()

    def add(self, prepared: PreparedOffline) -> None:
        """Take rows, which are checked already. Blocks while a full batch is appended."""
        name = prepared.view.batch_source.name
        self._views[name] = prepared.view
        self._started().enqueue(name, prepared.frame, allow_registry_cache=True, transform_on_write=True)

    def push(self, push_source_name: str, df: pd.DataFrame, **_: Any) -> None:
        """What Feast's batcher calls, of a FeatureStore as it thinks. Raises RefusedError, which it logs."""
        self._writing.append(PreparedOffline(self._views[push_source_name], df))

    def _started(self) -> OfflineWriteBatcher:
        from types import SimpleNamespace

        from feast.feature_server import OfflineWriteBatcher

        with self._lock:
            if self._batcher is None:
                settings = SimpleNamespace(batch_size=self._size, batch_interval_seconds=self._seconds)
                store: Any = self
                # Its thread belongs to the worker that needs it.
                self._batcher = OfflineWriteBatcher(store, settings)
            return self._batcher

    def stop(self) -> None:
        """Append what is left. Blocks."""
        if self._batcher is not None:
            self._batcher.shutdown()


def offline_batches(config: RepoConfig, writing: Writing) -> OfflineBatches | None:
    """What the `feature_server` block asks for. ConfigError for a batch without size or interval."""
    server = config.feature_server
    if server is None or not server.offline_push_batching_enabled:
        return None
    size, seconds = server.offline_push_batching_batch_size, server.offline_push_batching_batch_interval_seconds
    for name, value in (("batch_size", size), ("batch_interval_seconds", seconds)):
        if value is None or value <= 0:
            raise ConfigError(
                f"feature_server.offline_push_batching_{name} is {value}",
                hint="set it to a positive number, or offline_push_batching_enabled to false",
            )
    return OfflineBatches(writing, size, seconds)
