"""Answers larger than memory: finished columns move to disk and are read back through a memory map."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa


class Spill:
    """Keeps columns in memory until they take half of the limit, then on disk. The file lives as long as the columns
    it holds.
    """

    def __init__(self, memory_limit: int | None, folder: Path | None) -> None:
        self._room = None if memory_limit is None else memory_limit // 2
        self._folder = folder
        self._held = 0

    def keep(self, columns: Mapping[str, pa.ChunkedArray]) -> dict[str, pa.ChunkedArray]:
        """The same columns, in memory or mapped."""
        size = sum(column.nbytes for column in columns.values())
        if self._room is None or self._held + size <= self._room:
            self._held += size
            return dict(columns)
        return self._to_disk(pa.table(dict(columns)))

    def _to_disk(self, table: pa.Table) -> dict[str, pa.ChunkedArray]:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            prefix="yummy-spill-", suffix=".arrow", dir=self._folder, delete=False
        ) as file:
            path = Path(file.name)
        try:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=65_536)
            mapped = pa.memory_map(str(path))
            back = pa.ipc.open_file(mapped).read_all()
        finally:
            # The map keeps the data alive after its name is gone, so nothing is left behind even after a crash later
            # on.
            path.unlink(missing_ok=True)
        return dict(zip(back.column_names, back.columns, strict=True))
