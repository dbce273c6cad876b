"""Where the cases of ``format_cases`` lay their rows: a folder of this machine, or a bucket of an object store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from tests.store_servers import StoreServer

DATA = (".parquet", ".csv")


@dataclass
class Place:
    """A root for data, and a folder of this machine beside it (the repo, a catalog's database)."""

    folder: Path
    server: StoreServer | None = None
    bucket: str = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = self.server.bucket() if self.server else ""

    @property
    def options(self) -> dict[str, str]:
        """``storage_options`` of a context."""
        return dict(self.server.options) if self.server else {}

    @property
    def filesystem(self) -> pafs.FileSystem:
        """What holds the data."""
        return self.server.filesystem() if self.server else pafs.LocalFileSystem()

    @property
    def root(self) -> str:
        """The root as ``filesystem`` knows it."""
        return self.bucket or str(self.folder)

    def written(self, name: str) -> str:
        """A path as a user writes it."""
        return self.server.uri(f"{self.bucket}/{name}") if self.server else name

    def uri(self, name: str) -> str:
        """A path as libraries take it that know nothing of the repo."""
        return self.server.uri(f"{self.bucket}/{name}") if self.server else str(self.folder / name)

    def write(self, name: str, write: Callable[[pa.NativeFile], object]) -> None:
        """A new file, with folders above it where there are such."""
        if not self.server:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        with self.filesystem.open_output_stream(f"{self.root}/{name}") as sink:
            write(sink)

    def data_files(self) -> list[str]:
        """Paths of all Parquet and CSV files, for ``filesystem``, sorted."""
        return [path for path in self.files() if path.endswith(DATA)]

    def files(self) -> list[str]:
        """Paths of all files, hidden ones too."""
        infos = self.filesystem.get_file_info(pafs.FileSelector(self.root, recursive=True, allow_not_found=True))
        return sorted(info.path for info in infos if info.type == pafs.FileType.File)
