"""A FeatureStore of the server's own, for whatever writes.

What a materialization changes of a registry in memory, step by step, is not seen by those who read: they have a
snapshot, which another FeatureStore reads.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast import FeatureStore


class OwnStore:
    """Makes it when it is first asked for. Safe in threads.

    Args:
        store: of the same repository.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._like = store
        self._made: FeatureStore | None = None
        self._lock = threading.Lock()

    def get(self) -> FeatureStore:
        """The store. Raises what Feast raises about its configuration."""
        from feast import FeatureStore

        with self._lock:
            if self._made is None:
                self._made = FeatureStore(repo_path=str(self._like.repo_path), config=self._like.config)
            return self._made

    @property
    def provider(self) -> Any:
        """Feast's provider, with the repository's two stores."""
        return self.get()._get_provider()
