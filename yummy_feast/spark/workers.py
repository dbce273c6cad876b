"""What Python workers on executors need, and Spark does not do for them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from zipimport import zipimporter


@contextmanager
def task() -> Iterator[None]:
    """Around what one task does.

    A worker begins each task with ``importlib.invalidate_caches()``, and in the one it serves next every importer of a
    zip then reads the archive's directory again: of pyspark itself once per package of it, a third of a second of
    computing. Forgotten importers come back when something is imported, from what Python knows of the archive.
    """
    try:
        yield
    finally:
        forget_archives()


def forget_archives() -> None:
    """Drop the importers of zips and jars from Python's cache."""
    for path, finder in list(sys.path_importer_cache.items()):
        if isinstance(finder, zipimporter):
            sys.path_importer_cache.pop(path, None)
