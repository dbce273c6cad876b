"""What a historical fetch read and answered, as a file to keep beside the training set, and the same fetch once more.

``job.lockfile()`` writes it down; ``Lockfile.replay`` reads the same snapshots again, in whatever else the tables have
become since, and proves that the answer is the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from yummy_feast.errors import LockfileError
from yummy_feast.offline.entity_rows import select_all

if TYPE_CHECKING:
    from feast import FeatureStore

    from yummy_feast.offline.job import YummyRetrievalJob

FORMAT = 1
"""Of the file. A later one may have more in it; a number that grows means that older readers would err."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column's type, and the digest of its values; see ``lockfile_digest``."""

    type: str
    digest: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A table. ordered: false where rows came from Spark, which has no order: the digest is then of the sorted rows."""

    rows: int
    columns: dict[str, Column]
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Entities:
    """How the entity rows were given: ``rows``, ``parquet`` (text: the path), ``sql`` (text: the statement), ``range``
    (start, end) or ``select_all`` (end); times as ISO text.
    """

    form: str = "rows"
    text: str | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    features: tuple[str, ...]
    full_feature_names: bool
    filter_by_created_timestamp: bool
    entities: Entities


@dataclass(frozen=True, slots=True)
class Feature:
    """The source's column of a feature, and the type of the answer."""

    column: str
    type: str


@dataclass(frozen=True, slots=True)
class View:
    """What of a feature view bears on the answer. source: in ``Lockfile.sources``. join_keys: entity column -> source
    column. features: by name in the answer.
    """

    source: str
    join_keys: dict[str, str]
    features: dict[str, Feature]
    timestamp_field: str
    created_timestamp_column: str | None
    ttl_seconds: float


@dataclass(frozen=True, slots=True)
class OnDemand:
    """An on-demand feature view: how it computes, from what, and the digest of its code."""

    mode: str
    inputs: tuple[str, ...]
    outputs: dict[str, str]
    code: str


@dataclass(frozen=True, slots=True)
class Source:
    """A source, and what of it was read (``Scan.pin``: files, a version or a snapshot)."""

    type: str
    location: str
    settings: dict[str, Any]
    read: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lockfile:
    """A fetch written down. answer: the feature columns, None if nobody had asked for them as a table yet."""

    lockfile: int
    written: str
    project: str
    engine: str
    packages: dict[str, str]
    request: Request
    entity_rows: Rows
    views: dict[str, View]
    on_demand_views: dict[str, OnDemand]
    sources: dict[str, Source]
    answer: Rows | None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON; the file that was there is replaced as a whole."""
        target = Path(path)
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        beside.write_bytes(self.to_json())
        beside.replace(target)

    def to_json(self) -> bytes:
        """The text of the file: equal lockfiles, equal text."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Lockfile:
        """The lockfile that was saved there.

        Raises:
            LockfileError: it is none, or of a later format. OSError: there is no such file.
        """
        try:
            document = msgspec.json.decode(Path(path).read_bytes())
            number = document.get("lockfile") if isinstance(document, dict) else None
            if isinstance(number, int) and number > FORMAT:
                raise LockfileError(f"{path}: lockfile format {number}", hint="install a later yummy-feast to read it")
            return msgspec.convert(document, cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LockfileError(
                f"{path} is no lockfile: {error}", hint="write one with job.lockfile().save()"
            ) from error

    @contextmanager
    def replay(self) -> Iterator[None]:
        """Within the block, ``get_historical_features`` of this thread or task reads what the lockfile says.

        The jobs go on doing so after the block. They raise LockfileError where something is not as it was.
        """
        token = _REPLAYED.set(self)
        try:
            yield
        finally:
            _REPLAYED.reset(token)

    def get_historical_features(self, store: FeatureStore, entity_df: Any = None) -> YummyRetrievalJob:
        """The same fetch again. Entity rows need to be given only if they came as a table; SQL, a path, a range and
        ``select_all`` are in the lockfile.

        Raises:
            LockfileError: something is not as it was, or the entity rows are missing.
        """
        request, entities = self.request, self.request.entities
        dates: dict[str, Any] = {}
        if entity_df is None:
            if entities.form == "rows":
                raise LockfileError("the lockfile holds a digest of the entity rows only", hint="pass entity_df")
            if entities.form == "select_all":
                entity_df = select_all(datetime.fromisoformat(entities.end or ""))
            elif entities.form == "range":
                dates = {name: datetime.fromisoformat(getattr(entities, name[:-5]) or "") for name in _DATES}
            elif entities.form == "parquet" and "://" not in (entities.text or ""):
                entity_df = Path(entities.text or "")
            else:
                # Also the address of a file, which a Path would take for folders.
                entity_df = entities.text
        with self.replay():
            job: Any = store.get_historical_features(
                entity_df=entity_df,
                features=list(request.features),
                full_feature_names=request.full_feature_names,
                filter_by_created_timestamp=request.filter_by_created_timestamp,
                **dates,
            )
        return job  # type: ignore[no-any-return]


_DATES = ("start_date", "end_date")
_REPLAYED: ContextVar[Lockfile | None] = ContextVar("replayed lockfile", default=None)


def replayed() -> Lockfile | None:
    """The lockfile of the innermost ``replay`` block around the caller."""
    return _REPLAYED.get()
