"""What Parquet and CSV share: a source is a file, a folder, a glob or a list of these, with ``key=value`` folders."""

from __future__ import annotations

import os
import posixpath
import shutil
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Unpack
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs
from feast.errors import SavedDatasetLocationAlreadyExists

from yummy_feast.errors import ConfigError, SourceNotFoundError, SourceReadError, UnsupportedTableError
from yummy_feast.sources.base import MOVED, Scan, SourceContext, YummySource
from yummy_feast.sources.file_pins import pinned_files
from yummy_feast.sources.files import Location, StoredFile, glob_pattern, glob_root, list_files, locate
from yummy_feast.sources.keywords import PathLike, SourceKeywords
from yummy_feast.sources.parquet_pieces import read_footers
from yummy_feast.sources.writing import Sink, conformed, locked, new_name, write_whole

_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"


class FilesSource(YummySource):
    """Base of sources whose rows lie in files of their own, without a table log above them."""

    settings: ClassVar[tuple[str, ...]] = ("path",)
    extensions: ClassVar[tuple[str, ...]]
    """How names of such files end; the first is for new ones."""

    path: str | list[str]

    def __init__(self, path: PathLike | Sequence[PathLike] | None = None, **common: Unpack[SourceKeywords]) -> None:
        paths = [path] if isinstance(path, str | os.PathLike) else list(path or [])
        texts = [os.fspath(item) for item in paths]
        super().__init__(default_name=",".join(texts), **common)
        if not texts or "" in texts:
            raise TypeError(f"{type(self).__name__}() needs path: a file, a folder, a glob or a list of these")
        self.path = texts if len(texts) > 1 else texts[0]

    @property
    def location(self) -> str:
        """The path or paths as the user wrote them."""
        return self.path if isinstance(self.path, str) else ", ".join(self.path)

    def files(self, context: SourceContext) -> list[StoredFile]:
        """The files there are now, in a fixed order. SourceNotFoundError if there are none."""
        places = self._places(context)
        for place in places:
            _refuse_tables(place)
        return list_files(places, self.extensions)

    def scan_at(self, pin: Mapping[str, Any], context: SourceContext) -> Scan:
        """See ``YummySource.scan_at``: the same files; those that came since are left out."""
        try:
            now = self.files(context)
        except SourceNotFoundError:
            now = []
        return self.scan_of(pinned_files(self.name, pin, now, self.settled(context), MOVED), context)

    def _places(self, context: SourceContext) -> list[Location]:
        paths = [self.path] if isinstance(self.path, str) else self.path
        settled = self.settled(context)
        places = [locate(path, settled) for path in paths]
        if len({place.is_local for place in places}) > 1:
            raise ConfigError(f"source '{self.name}' lists local and remote paths", hint="make it two sources")
        return places

    def _only_place(self, context: SourceContext) -> Location:
        if not isinstance(self.path, str):
            raise ConfigError(
                f"source '{self.name}' is a list of files, which has no place for new rows", hint="use their folder"
            )
        return locate(self.path, self.settled(context))

    # ------------------------------------------------------------------------------ what a format supplies

    @abstractmethod
    def scan_of(self, files: list[StoredFile], context: SourceContext) -> Scan:
        """See ``YummySource.scan``, of these files."""

    @abstractmethod
    def write(self, table: pa.Table, path: str, sink: Sink) -> None:
        """A new file with these rows, which will be ``path`` once ``sink`` is complete."""

    @abstractmethod
    def rewrite(self, file: StoredFile, table: pa.Table, sink: Sink) -> None:
        """A new file with the rows of ``file`` and then those of ``table``, which has its stored columns or fewer."""

    # ------------------------------------------------------------------------------ writing

    def append(self, table: pa.Table, context: SourceContext, *, create: bool = False) -> None:
        """See ``YummySource.append``.

        A file is rewritten beside itself and swapped in; a folder or ``folder/*.ext`` gets one more file, in the right
        ``key=value`` folders if it has such. Readers see all of the rows (of a partition) or none.
        """
        place = self._only_place(context)
        folder = place.at(glob_root(place.path)) if place.is_glob else place
        try:
            files = self.files(context)
        except SourceNotFoundError:
            if not create:
                raise
            self._begin(table, place, folder)
            return
        if files[0].location.path == place.path:
            self._append_to_file(files[0], table)
            return
        schema = self.scan(context).schema
        rows = conformed(table, schema, self.location)
        new = [
            (folder.at(posixpath.join(folder.path, *below, new_name(self.extensions[0]))), part)
            for below, part in _split_by_folder(rows, list(files[0].partition))
        ]
        if place.is_glob:
            _require_match(place, [target.path for target, _ in new])
        self._write_all(new)

    def replace(self, table: pa.Table, context: SourceContext, *, allow_overwrite: bool) -> None:
        """See ``YummySource.replace``. A path with one of the format's extensions is a file, any other a folder."""
        place = self._replaceable(context, allow_overwrite)
        if place.info().type == pafs.FileType.Directory:
            _refuse_tables(place)
            self._replace_folder(place, table)
        else:
            self._begin(table, place, place)

    def replace_by(self, write: Callable[[str], int], context: SourceContext, *, allow_overwrite: bool) -> None:
        """See ``YummySource.replace_by``. Locally the new folder takes the place of the old one; on a store that cannot
        rename, new files appear as they are written, and the old ones go last.
        """
        place = self._replaceable(context, allow_overwrite)
        _refuse_tables(place)
        if place.is_local:
            folder = Path(place.path)
            was_there = folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with _swapped_folder(folder) as fresh:
                    rows = write(str(fresh))
                    _require_rows(place, _files_below(place.at(str(fresh))), rows)
            except BaseException:
                if not was_there:
                    folder.rmdir()
                raise
            return
        old = {info.path for info in _files_below(place)}
        rows = write(place.text)
        new = [info for info in _files_below(place) if info.path not in old]
        try:
            _require_rows(place, new, rows)
        except SourceReadError:
            for info in new:
                place.at(info.path).delete()
            raise
        for path in old:
            place.at(path).delete()

    def _replaceable(self, context: SourceContext, allow_overwrite: bool) -> Location:
        """The one place of the source. SavedDatasetLocationAlreadyExists if it is taken."""
        place = self._only_place(context)
        if place.is_glob:
            raise ConfigError(f"'{self.path}' is a glob, which cannot be replaced", hint="name the file or the folder")
        if not allow_overwrite and place.has_files():
            raise SavedDatasetLocationAlreadyExists(location=place.text)
        return place

    def _begin(self, table: pa.Table, place: Location, folder: Location) -> None:
        """The first rows of a source: its file, or the first file in its folder."""
        if not place.is_glob and place.path.lower().endswith(self.extensions):
            write_whole(place, partial(self.write, table, place.path))
            return
        target = folder.at(posixpath.join(folder.path, new_name(self.extensions[0])))
        if place.is_glob:
            _require_match(place, [target.path])
        self._write_all([(target, table)])

    def _append_to_file(self, file: StoredFile, table: pa.Table) -> None:
        if not file.location.is_local:
            write_whole(file.location, partial(self.rewrite, file, table))
            return
        with locked(Path(file.location.path).parent):
            # Another writer may have been faster: take the file as it is now.
            info = file.location.info()
            now = StoredFile(file.location, info.size, info.mtime_ns, {})
            write_whole(file.location, partial(self.rewrite, now, table))

    def _write_all(self, new: list[tuple[Location, pa.Table]]) -> None:
        """Write several files; if one fails, those already in place go away again."""
        done: list[Location] = []
        try:
            for target, part in new:
                write_whole(target, partial(self.write, part, target.path))
                done.append(target)
        except BaseException:
            for target in done:
                target.delete()
            raise

    def _replace_folder(self, place: Location, table: pa.Table) -> None:
        name = new_name(self.extensions[0])
        if place.is_local:
            with _swapped_folder(Path(place.path)) as fresh:
                self.write(table, name, fresh / name)
            return
        old = [info.path for info in _files_below(place)]
        self._write_all([(place.at(posixpath.join(place.path, name)), table)])
        for path in old:
            place.at(path).delete()


def _files_below(place: Location) -> list[pafs.FileInfo]:
    return [info for info in place.below(deep=True) if info.type == pafs.FileType.File]


def _require_rows(place: Location, files: Sequence[pafs.FileInfo], rows: int) -> None:
    """SourceReadError unless the new Parquet files hold all rows that others say they have written there."""
    parquet = [info.path for info in files if info.path.endswith(".parquet")]
    stored = [StoredFile(place.at(path), size=None, modified=None, partition={}) for path in parquet]
    found = sum(footer.metadata.num_rows for footer in read_footers(stored))
    if found != rows:
        raise SourceReadError(
            f"{place.text}: {rows} rows were written, but {found} of them are here: "
            "the executors do not share this place with the driver",
            hint="use a folder that all of them see, or one in an object store; what was there is as it was",
        )


@contextmanager
def _swapped_folder(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of ``folder`` at the end; the old one comes back if the block fails."""
    mark = uuid.uuid4().hex
    fresh, old = (folder.parent / f".{folder.name}.{mark}.{kind}" for kind in ("new", "old"))
    fresh.mkdir()
    try:
        yield fresh
        os.rename(folder, old)
        try:
            os.rename(fresh, folder)
        except BaseException:
            os.rename(old, folder)
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _refuse_tables(place: Location) -> None:
    """The files below a table's folder include removed rows: only its log knows which count."""
    if place.is_glob:
        return
    if place.at(posixpath.join(place.path, "_delta_log")).exists():
        raise UnsupportedTableError(f"{place.text} is a Delta table", hint="use DeltaSource(path=...)")
    if place.at(posixpath.join(place.path, "metadata", "version-hint.text")).exists():
        raise UnsupportedTableError(f"{place.text} is an Iceberg table", hint="use IcebergSource(path=...)")


def _require_match(place: Location, targets: list[str]) -> None:
    pattern = glob_pattern(place.path)
    for target in targets:
        if not pattern.fullmatch(target):
            raise ConfigError(
                f"new rows would go to {target}, which '{place.text}' does not match",
                hint="use the folder as path, or a glob that ends in a plain '*' and the extension",
            )


def _split_by_folder(table: pa.Table, keys: list[str]) -> Iterator[tuple[list[str], pa.Table]]:
    """The rows of each ``key=value`` folder, without the key columns."""
    if not keys:
        yield [], table
        return
    numbered = table.select(keys).append_column("row number", pa.array(range(table.num_rows), pa.int64()))
    groups = numbered.group_by(keys, use_threads=False).aggregate([("row number", "list")])
    rest = table.drop_columns(keys)
    for group in groups.to_pylist():
        yield [_folder_name(key, group[key]) for key in keys], rest.take(pa.array(group["row number_list"], pa.int64()))


def _folder_name(key: str, value: object) -> str:
    if value is None:
        return f"{quote(key)}={_NULL_FOLDER}"
    text = value.isoformat() if isinstance(value, date) else str(value)
    return f"{quote(key)}={quote(text, safe=' ')}"


def partition_constants(
    files: Sequence[StoredFile], stored_types: Mapping[str, pa.DataType]
) -> tuple[dict[str, pa.DataType], list[dict[str, pa.Scalar]]]:
    """Types of the ``key=value`` columns, and per file their values.

    A column that the files hold too keeps its type there; else a key is int64, date32 or string: the first that fits
    all values.
    """
    texts: dict[str, list[str]] = {}
    for file in files:
        for key, text in file.partition.items():
            texts.setdefault(key, [])
            if text is not None:
                texts[key].append(text)
    types = {key: stored_types.get(key) or _type_of_texts(values) for key, values in texts.items()}
    values = [
        {key: _partition_scalar(file, key, file.partition.get(key), found) for key, found in types.items()}
        for file in files
    ]
    return types, values


def _type_of_texts(texts: list[str]) -> pa.DataType:
    if texts:
        for candidate in (pa.int64(), pa.date32()):
            try:
                pa.array(texts).cast(candidate)
            except pa.ArrowInvalid:
                continue
            return candidate
    return pa.string()


def _partition_scalar(file: StoredFile, key: str, text: str | None, target: pa.DataType) -> pa.Scalar:
    try:
        return pa.scalar(text, pa.string()).cast(target)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UnsupportedTableError(
            f"{file.text}: folder {key}={text} does not fit column '{key}' of type {target}",
            hint="rename the folders or drop the column from the files",
        ) from error
