"""Which Arrow types the columns of a CSV file have, decided over the whole file.

pyarrow's streaming reader decides on the first block, and stumbles where a later one differs. Here every block is seen
as text once; a column keeps the narrowest type of a chain that all its values fit: int64, double, string; bool, string;
date32, timestamp (us, then ns), string; timestamp with zone (us, then ns), string. Null if it has no value at all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from yummy_feast.sources.csv_dialect import FALSE, TRUE, Dialect, csv_readable
from yummy_feast.sources.files import StoredFile

_TEXT = pa.string()
_CHAINS: tuple[tuple[pa.DataType, ...], ...] = (
    (pa.int64(), pa.float64(), _TEXT),
    (pa.float64(), _TEXT),
    (pa.bool_(), _TEXT),
    (pa.date32(), pa.timestamp("us"), pa.timestamp("ns"), _TEXT),
    (pa.timestamp("us"), pa.timestamp("ns"), _TEXT),
    (pa.timestamp("us", tz="UTC"), pa.timestamp("ns", tz="UTC"), _TEXT),
    (pa.timestamp("ns"), _TEXT),
    (pa.timestamp("ns", tz="UTC"), _TEXT),
    (_TEXT,),
)
_LONG_INTEGER = r"^[+-]?\d{16,}$"
_EXACT_IN_DOUBLE = 2**53


@dataclass(slots=True)
class ColumnText:
    """What is known about a column's text so far. ``blank``: it has quoted empty values, nulls unless it is text."""

    chain: tuple[pa.DataType, ...] = ()
    blank: bool = False
    long_integers: bool = False

    @property
    def type(self) -> pa.DataType:
        """The narrowest type that fits all values, null if there was none."""
        return self.chain[0] if self.chain else (_TEXT if self.blank else pa.null())

    def see(self, values: pa.Array) -> None:
        """Take in a block of the column's text."""
        present = values.drop_null()
        if len(present) == 0 or self.chain == (_TEXT,):
            return
        blank = pc.equal(present, "")
        if pc.any(blank).as_py():
            self.blank = True
            present = present.filter(pc.invert(blank))
        if len(present) == 0:
            return
        if not self.chain:
            self.chain = next(chain for chain in _CHAINS if fits(present[:1], chain[0]))
        while not fits(present, self.chain[0]):
            self.chain = self.chain[1:]
            if self.chain[0] == pa.float64() and self.long_integers:
                # Double would round integers that were seen before.
                self.chain = (_TEXT,)
        if self.chain[0] == pa.int64() and not self.long_integers:
            edges = pc.min_max(present.cast(pa.int64())).as_py()
            self.long_integers = max(abs(edges["min"]), abs(edges["max"])) > _EXACT_IN_DOUBLE


def fits(texts: pa.Array, candidate: pa.DataType) -> bool:
    """Whether every text is a value of the type, exactly."""
    if candidate == _TEXT:
        return True
    if pt.is_boolean(candidate):
        return bool(pc.all(pc.is_in(texts, pa.array([*TRUE, *FALSE]))).as_py())
    if pt.is_floating(candidate) and pc.any(pc.match_substring_regex(texts, _LONG_INTEGER)).as_py():
        return False
    try:
        texts.cast(candidate)
    except pa.ArrowInvalid:
        return False
    return True


@dataclass(frozen=True, slots=True)
class FileTypes:
    """The columns of one CSV file in order; those in ``texts`` were looked at."""

    names: tuple[str, ...]
    texts: dict[str, ColumnText] = field(hash=False)


@functools.lru_cache(maxsize=1024)
def _types_of(content: _Content, dialect: Dialect, columns: frozenset[str] | None) -> FileTypes:
    file = content.file
    names = dialect.names_of(file)
    looked_at = [name for name in names if columns is None or name in columns]
    texts = {name: ColumnText() for name in looked_at}
    if looked_at:
        as_text = dict.fromkeys(looked_at, _TEXT)
        with dialect.opened(file, as_text, looked_at) as reader, csv_readable(file.text):
            for batch in reader:
                for name, values in zip(looked_at, batch.columns, strict=True):
                    texts[name].see(values)
    return FileTypes(tuple(names), texts)


@dataclass(frozen=True, slots=True)
class _Content:
    """What identifies a file's content, as a key of the cache; the file itself only comes along."""

    path: str
    size: int | None
    modified: int | None
    mark: str
    file: StoredFile = field(compare=False)


def file_types(file: StoredFile, dialect: Dialect, columns: Iterable[str] | None) -> FileTypes:
    """Types of ``columns`` (None: all) over the whole file; remembered until the file changes.

    SourceReadError for a file that is no CSV of this dialect.
    """
    content = _Content(file.text, file.size, file.modified, file.mark, file)
    return _types_of(content, dialect, None if columns is None else frozenset(columns))


def first_misfit(file: StoredFile, dialect: Dialect, column: str, candidate: pa.DataType) -> tuple[int, str] | None:
    """Row (1 = the first after the header) and text of the first value that is not of the type; None if all are."""
    row = 0
    with dialect.opened(file, {column: _TEXT}, [column]) as reader, csv_readable(file.text):
        for batch in reader:
            values = batch.column(0)
            blank = pc.equal(values, "").fill_null(fill_value=True)
            present = values.filter(pc.invert(blank))
            if not fits(present, candidate):
                position = _first_bad(present, candidate)
                rows = pc.indices_nonzero(pc.invert(blank))
                return row + rows[position].as_py() + 1, present[position].as_py()
            row += batch.num_rows
    return None


def _first_bad(texts: pa.Array, candidate: pa.DataType) -> int:
    """Position of the first text that does not fit, found by halving."""
    low, high = 0, len(texts)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(texts[low:middle], candidate):
            low = middle
        else:
            high = middle
    return low
