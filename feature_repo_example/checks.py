"""Assertions about a training set that do not trust the feature store: the tables are read again by other means."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from feature_repo_example.prepare import iceberg_catalog


class CheckError(AssertionError):
    """A claim of the demo does not hold; the message names the view and a row."""


@dataclass(frozen=True, slots=True)
class Table:
    """How to read a view's rows without the feature store; the feature `known` repeats the event timestamp."""

    view: str
    keys: tuple[str, ...]
    known: str
    value: str
    ttl: pd.Timedelta | None
    read: Callable[[Path], pd.DataFrame]


def _read_weather(data: Path) -> pd.DataFrame:
    return pd.concat(
        pd.read_csv(file, parse_dates=["event_timestamp"]) for file in sorted((data / "weather").glob("*.csv"))
    )


def _read_delays(data: Path) -> pd.DataFrame:
    from deltalake import DeltaTable

    return DeltaTable(data / "carrier_delays").to_pyarrow_table().to_pandas()


def _read_arrivals(data: Path) -> pd.DataFrame:
    catalog = iceberg_catalog(data / "lake")
    try:
        return catalog.load_table("flights.arrivals").scan().to_arrow().to_pandas()
    finally:
        catalog.close()


def _read_planes(data: Path) -> pd.DataFrame:
    return pd.read_parquet(data / "planes.parquet")


TABLES = (
    Table("weather", ("origin",), "weather_as_of", "temp", pd.Timedelta(hours=3), _read_weather),
    Table("carrier_delays", ("carrier", "origin"), "delays_as_of", "overdue", pd.Timedelta(hours=12), _read_delays),
    Table("last_arrival", ("tailnum",), "arrived_at", "last_arr_delay", pd.Timedelta(days=2), _read_arrivals),
    Table("plane", ("tailnum",), "plane_as_of", "seats", None, _read_planes),
)


def same_rows(entity_rows: pd.DataFrame, training: pd.DataFrame) -> str:
    """Rows out = rows in: same number, same order, every column that went in unchanged."""
    if len(training) != len(entity_rows):
        raise CheckError(f"{len(entity_rows):,} rows went in, {len(training):,} came out")
    for name in entity_rows.columns:
        before, after = entity_rows[name], training[name]
        equal = (before.to_numpy() == after.to_numpy()) | (before.isna().to_numpy() & after.isna().to_numpy())
        if not equal.all():
            row = int(np.argmin(equal))
            raise CheckError(f"column {name}, row {row}: {before.iloc[row]!r} went in, {after.iloc[row]!r} came out")
    return f"rows out = rows in: {len(training):,}, in the same order, all {entity_rows.shape[1]} columns unchanged"


def nothing_newer(training: pd.DataFrame) -> str:
    """No value was known later than its row's `event_timestamp`, nor expired."""
    seen = 0
    for table in TABLES:
        known = pd.to_datetime(training[table.known], utc=True)
        age = training["event_timestamp"] - known
        if (age < pd.Timedelta(0)).any():
            raise CheckError(f"{table.view}: a value from the future in row {int(np.argmin(age))}, by {-age.min()}")
        if table.ttl is not None and (age > table.ttl).any():
            raise CheckError(f"{table.view}: an expired value in row {int(np.argmax(age))}, {age.max()} old")
        if not age.notna().any():
            raise CheckError(f"{table.view}: not a single row found a value")
        seen += int(age.notna().sum())
    return f"no value newer than its row, none past its ttl: {seen:,} values of {len(TABLES)} views"


def same_as_pandas(training: pd.DataFrame, data: Path) -> str:
    """Row by row what `pandas.merge_asof` finds in the tables, read with pandas, deltalake and pyiceberg themselves."""
    rows = training.assign(_row=np.arange(len(training))).sort_values("event_timestamp", kind="stable")
    for table in TABLES:
        expected = _merge_asof(rows, table, data)
        for name in (table.known, table.value):
            found = rows[name]
            want = expected[name]
            if name == table.known:
                found, want = (_micros(times) for times in (found, want))
            else:
                found, want = found.astype("float64").fillna(np.inf), want.astype("float64").fillna(np.inf)
            differs = found.to_numpy() != want.to_numpy()
            if differs.any():
                at = rows.iloc[int(np.argmax(differs))]
                count = int(differs.sum())
                raise CheckError(f"{table.view}.{name}: {count:,} rows differ, first flight_id {at['flight_id']}")
    return f"equal to pandas.merge_asof over the raw tables: {len(training):,} rows x {len(TABLES)} views"


def _micros(times: pd.Series) -> pd.Series:
    return pd.to_datetime(times, utc=True).astype("datetime64[us, UTC]").astype("int64")


def _merge_asof(rows: pd.DataFrame, table: Table, data: Path) -> pd.DataFrame:
    source = table.read(data)[[*table.keys, "event_timestamp", table.value]].sort_values("event_timestamp")
    source = source.assign(**{table.known: source["event_timestamp"]})
    left = rows[[*table.keys, "event_timestamp"]]
    moment = "datetime64[us, UTC]"
    return pd.merge_asof(
        left.assign(event_timestamp=left["event_timestamp"].astype(moment)),
        source.assign(event_timestamp=source["event_timestamp"].astype(moment)),
        on="event_timestamp",
        by=list(table.keys),
        tolerance=table.ttl,
    )


def same_online(online: pd.DataFrame, offline: pd.DataFrame, names: list[str]) -> str:
    """The online store answers what the offline store answers for this moment."""
    for name in names:
        for row, (one, other) in enumerate(zip(online[name].tolist(), offline[name].tolist(), strict=True)):
            if not (one == other or (pd.isna(one) and pd.isna(other))):
                raise CheckError(f"{name}, row {row}: online {one!r}, offline {other!r}")
    return f"online = offline: {len(online):,} flights x {len(names)} features"
