"""Lay the year of flights out once, in four formats, under `data/`: `python -m feature_repo_example.prepare`.

| table            | format                  | one row a                | event timestamp: known when    |
|------------------|-------------------------|--------------------------|--------------------------------|
| `weather/*.csv`  | CSV, a file an origin   | origin, hour             | the hour is over               |
| `planes.parquet` | Parquet                 | aircraft                 | before the year begins         |
| `carrier_delays` | Delta, a commit a month | carrier, origin, hour    | the last of the hours is over  |
| `flights.arrivals` | Iceberg, SQLite catalog | landing of an aircraft | it lands                       |
| `flights.parquet` | Parquet, not a source  | flight: the entity rows  | (two hours before departure)   |

`history.py` decides what was known when; this file only writes. Moments after now are not written at all.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from feature_repo_example import history
from feature_repo_example.console import progress

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog

REPO = Path(__file__).parent
MAX_AGE = pd.Timedelta(hours=1)
"""Tables older than this are laid out again: the weather of this morning is no weather for tonight's flights."""
# Part of the stamp: a change of what is written makes every older layout stale.
_VERSION = 1
_ARRIVALS = "flights.arrivals"


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies under `repo/data`: row counts, the moment `now` at which the tables end, `fresh` if just written."""

    repo: Path
    now: pd.Timestamp
    rows: dict[str, int]
    fresh: bool

    @property
    def data(self) -> Path:
        """The folder of the tables."""
        return self.repo / "data"

    def flights(self) -> pd.DataFrame:
        """The timetable with outcomes as far as they are known, times in UTC."""
        return pd.read_parquet(self.data / "flights.parquet")


@dataclass(frozen=True, slots=True)
class _Stamp:
    version: int
    folder: str
    days: int | None
    now: str
    rows: dict[str, int]


def prepare(repo: Path = REPO, days: int | None = None, now: pd.Timestamp | None = None, again: bool = False) -> Layout:
    """Lay the tables out unless they are there and recent; `days` keeps only the last so many (for tests).

    `now` is aware and defaults to this minute; `again` lays out whatever is there. An interrupted run leaves no stamp,
    so the next one starts over. Takes a few seconds.
    """
    now = (pd.Timestamp.now(tz="UTC") if now is None else now.tz_convert("UTC")).floor("min")
    data = repo / "data"
    stamp_file = data / "laid_out.json"
    stamp = _read_stamp(stamp_file)
    if stamp and not again and _still_good(stamp, data, days, now):
        return Layout(repo, pd.Timestamp(stamp.now), stamp.rows, fresh=False)
    stamp_file.unlink(missing_ok=True)
    rows = _lay_out(data, now, days)
    # Iceberg's metadata holds absolute paths: a moved repo is laid out again.
    stamp = _Stamp(_VERSION, str(data.resolve()), days, now.isoformat(), rows)
    stamp_file.write_text(json.dumps(asdict(stamp), indent=2))
    return Layout(repo, now, rows, fresh=True)


def _read_stamp(file: Path) -> _Stamp | None:
    if not file.exists():
        return None
    try:
        return _Stamp(**json.loads(file.read_text()))
    except (TypeError, ValueError):  # cut short, or of another version of this script
        return None


def _still_good(stamp: _Stamp, data: Path, days: int | None, now: pd.Timestamp) -> bool:
    age = now - pd.Timestamp(stamp.now)
    same = (stamp.version, stamp.folder, stamp.days) == (_VERSION, str(data.resolve()), days)
    return same and pd.Timedelta(0) <= age <= MAX_AGE


def _lay_out(data: Path, now: pd.Timestamp, days: int | None) -> dict[str, int]:
    data.mkdir(parents=True, exist_ok=True)
    steps: list[tuple[str, Callable[[], object]]] = []
    with progress(6, "reading a year of flights") as bar:
        year = history.read(now, days)
        steps = [
            ("weather -> CSV", lambda: _write_csv(year.weather, data / "weather")),
            ("aircraft -> Parquet", lambda: pq.write_table(_arrow(year.planes), data / "planes.parquet")),
            ("delays -> Delta", lambda: _write_delta(year.carrier_delays, data / "carrier_delays")),
            ("last arrivals -> Iceberg", lambda: _write_iceberg(year.arrivals, data / "lake")),
            ("flights -> Parquet", lambda: pq.write_table(_arrow(year.flights), data / "flights.parquet")),
        ]
        for label, write in steps:
            bar.update()
            bar.set_description_str(label)
            write()
        bar.update()
    names = ("weather", "planes", "carrier_delays", "arrivals", "flights")
    return {name: len(getattr(year, name)) for name in names}


def _arrow(rows: pd.DataFrame) -> pa.Table:
    """Microseconds, because Delta and Iceberg know nothing finer."""
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    micros = [
        field.with_type(pa.timestamp("us", tz="UTC")) if pa.types.is_timestamp(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(micros))


def _by_month(rows: pd.DataFrame) -> Iterator[pa.Table]:
    """Month by month, as it happened: readers can then skip the files of other months."""
    month = rows["event_timestamp"].dt.strftime("%Y-%m")
    for _, part in rows.groupby(month):
        yield _arrow(part)


def _write_csv(rows: pd.DataFrame, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for origin, part in rows.groupby("origin"):
        pa.csv.write_csv(_arrow(part), folder / f"{origin}.csv")


def _write_delta(rows: pd.DataFrame, folder: Path) -> None:
    from deltalake import write_deltalake

    shutil.rmtree(folder, ignore_errors=True)
    for part in _by_month(rows):
        write_deltalake(folder, part, mode="append")


def _write_iceberg(rows: pd.DataFrame, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    catalog = iceberg_catalog(folder)
    try:
        catalog.create_namespace("flights")
        table = None
        for part in _by_month(rows):
            table = table or catalog.create_table(_ARRIVALS, schema=part.schema)
            table.append(part)
    finally:
        catalog.close()


def iceberg_catalog(folder: Path) -> "SqlCatalog":
    """The SQLite catalog of `folder`, as `catalogs.lake` of feature_store.yaml describes it."""
    from pyiceberg.catalog.sql import SqlCatalog

    where = folder.resolve()
    return SqlCatalog("lake", uri=f"sqlite:///{where / 'catalog.db'}", warehouse=(where / "warehouse").as_uri())


if __name__ == "__main__":
    laid_out = prepare(again=True)
    for name, count in laid_out.rows.items():
        print(f"{name:<16}{count:>9,} rows")
    print(f"known up to {laid_out.now:%Y-%m-%d %H:%M} UTC, under {laid_out.data}")
