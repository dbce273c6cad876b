"""How old what is served is, view by view, over all workers.

The age of a view is that of the newest of its rows seen lately. Views come and go with the registry, so their numbers
have no fixed place in a Sheet: each worker leaves them in a small file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from prometheus_client import Metric

_SUFFIX: Final = ".ages"
_LATELY: Final = 60.0
_FORGOTTEN: Final = 3600.0


class Seen(msgspec.Struct, array_like=True):
    """newest: event timestamp in seconds since 1970; at: when it was seen."""

    newest: float
    at: float


class Ages:
    """Newest rows per view; a collector for prometheus_client.

    Args:
        folder: where the workers of one server keep their files; None for a server of one process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file = None if folder is None else folder / f"{os.getpid()}{_SUFFIX}"
        self._seen: dict[str, Seen] = {}
        self._is_new = False

    def see(self, view: str, event_time: int) -> None:
        """A row of ``view`` was served whose event timestamp is ``event_time`` (microseconds since 1970)."""
        newest, now = event_time / 1e6, time()
        before = self._seen.get(view)
        if before is None or newest >= before.newest or now - before.at > _LATELY:
            self._seen[view] = Seen(newest, now)
            self._is_new = True

    def publish(self) -> None:
        """Let the other workers know."""
        if self._file is not None and self._is_new:
            self._is_new = False
            part = self._file.with_suffix(".part")
            part.write_bytes(msgspec.json.encode(self._seen))
            # Whoever reads finds one or the other, whole.
            part.replace(self._file)

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks of a collector."""
        from prometheus_client.core import GaugeMetricFamily

        metric: Any = GaugeMetricFamily(
            "yummy_features_view_age_seconds",
            "Time since the event timestamp of the newest row of each feature view that was served lately",
            labels=["view"],
        )
        now = time()
        for view, newest in sorted(self._of_all(now).items()):
            metric.add_metric([view], now - newest)
        yield metric

    def _of_all(self, now: float) -> dict[str, float]:
        everybodys = [self._seen]
        if self._folder is not None:
            others = [path for path in self._folder.glob(f"*{_SUFFIX}") if path != self._file]
            everybodys += [msgspec.json.decode(path.read_bytes(), type=dict[str, Seen]) for path in others]
        by_view: dict[str, list[Seen]] = {}
        for seen in everybodys:
            for view, each in seen.items():
                by_view.setdefault(view, []).append(each)
        found = {}
        for view, all_of_it in by_view.items():
            last = max(each.at for each in all_of_it)
            if now - last < _FORGOTTEN:
                found[view] = max(each.newest for each in all_of_it if last - each.at <= _LATELY)
        return found
