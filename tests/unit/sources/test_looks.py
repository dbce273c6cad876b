from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import yummy_feast
from tests.contract.engine_kit import MemoryScan
from yummy_feast.errors import LockfileError, SourceMovedError, SourceReadError
from yummy_feast.sources.base import Prune, Scan, SourceContext, YummySource
from yummy_feast.sources.looks import Looks, source_key
from yummy_feast.sources.parquet import ParquetSource


class Counter(YummySource):
    """A source without settings and pins of its own, whose state counts up by itself."""

    format = "counter"
    location = "counter"
    state = "1"
    error: Exception | None = None

    def scan(self, context: SourceContext) -> Scan:
        scan = CounterScan(pa.schema({"ts": pa.timestamp("us")}), [])
        scan.its_state, scan.error = self.state, self.error
        return scan

    def append(self, table: pa.Table, context: SourceContext, *, create: bool = False) -> None: ...

    def replace(self, table: pa.Table, context: SourceContext, *, allow_overwrite: bool) -> None: ...


class CounterScan(MemoryScan):
    its_state = ""
    error: Exception | None = None

    @property
    def state(self) -> str:
        return self.its_state

    def pieces(self, prune: Prune | None = None) -> list[Any]:
        if self.error:
            raise self.error
        return []


def counter(name: str = "counter") -> Counter:
    return Counter(name, name=name, timestamp_field="ts")


def fetch(folder: Path, *pins: Any) -> tuple[SourceContext, Looks]:
    looks = Looks(*pins)
    return SourceContext(folder, looks=looks), looks


def test_a_context_without_looks_remembers_nothing(tmp_path: Path) -> None:
    context, source = SourceContext(tmp_path), counter()
    assert context.scan(source).state == "1"
    source.state = "2"
    assert context.scan(source).state == "2"


def test_the_second_look_sees_what_the_first_saw(tmp_path: Path) -> None:
    pq.write_table(pa.table({"ts": pa.array([1], pa.timestamp("us"))}), tmp_path / "a.parquet")
    context, looks = fetch(tmp_path)
    views = [ParquetSource("*.parquet", name=name, timestamp_field="ts") for name in ("one", "two")]
    assert context.scan(views[0]).snapshot == "1 file"
    pq.write_table(pa.table({"ts": pa.array([2], pa.timestamp("us"))}), tmp_path / "b.parquet")
    assert context.scan(views[1]).snapshot == "1 file", "it is the same place"
    assert views[0].scan(context).snapshot == "2 files"
    ((key, look),) = looks.seen.items()
    assert key == source_key(views[1])
    assert look.source is views[0]
    assert [item["path"] for item in look.pin["files"]] == ["a.parquet"]


def test_a_source_that_tells_its_state_only_must_keep_it(tmp_path: Path) -> None:
    context, looks = fetch(tmp_path)
    source = counter()
    context.scan(source)
    assert context.scan(source).state == "1"
    source.state = "2"
    with pytest.raises(SourceMovedError, match="source 'counter' moved: counter has other rows"):
        context.scan(source)
    source.state = ""
    quiet, _ = fetch(tmp_path)
    quiet.scan(source)
    quiet.scan(source)
    assert source_key(counter("a")) != source_key(counter("b")), "nothing but the name tells them apart"
    assert looks.seen[source_key(source)].pin == {"state": "1"}


def test_pins_of_an_earlier_fetch_hold_from_the_first_look_on(tmp_path: Path) -> None:
    source, other = counter(), counter("other")
    pins: Mapping[str, Any] = {source_key(source): {"state": "0"}}
    context, looks = fetch(tmp_path, pins, {"other": {"state": "1"}})
    with pytest.raises(SourceMovedError):
        context.scan(source)
    assert context.scan(other).state == "1", "known by its name"
    assert [look.pin for look in looks.seen.values()] == [{"state": "1"}]
    with pytest.raises(LockfileError, match="source 'third' was not read"):
        context.scan(counter("third"))


@pytest.mark.parametrize("missing", [True, False])
def test_missing_files_of_a_pinned_scan_mean_that_it_moved(tmp_path: Path, missing: bool) -> None:
    source = counter()
    source.error = SourceReadError("f.parquet: broken")
    source.error.__cause__ = FileNotFoundError() if missing else OSError()
    context, _ = fetch(tmp_path, {source_key(source): {"state": "1"}})
    scan = context.scan(source)
    assert (scan.format, scan.schema.names, scan.location) == ("memory", ["ts"], "memory")
    assert scan.native(["ts"]) is None
    assert scan.pin(context) == {"state": "1"}
    for ask in (scan.pieces, lambda: scan.total_pieces):
        expected = SourceMovedError if missing else SourceReadError
        with pytest.raises(expected, match=r"f\.parquet: broken") as caught:
            ask()
        assert ("files of now are gone" in str(caught.value)) is missing


def test_engines_look_through_the_context_only() -> None:
    """A look past it would read what the lockfile does not say."""
    engines = sorted((Path(yummy_feast.__file__).parent / "offline" / "engines").glob("*.py"))
    text = "".join(path.read_text() for path in engines)
    assert "context.scan(" in text
    assert "source.scan(" not in text
