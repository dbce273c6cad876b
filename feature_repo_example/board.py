"""The next flights as the online store sees them, before and after one pushed observation."""

from typing import Any

import pandas as pd
from tabulate import tabulate

from feature_repo_example import checks
from feature_repo_example.console import quiet, say
from feature_repo_example.history import NEW_YORK
from feature_repo_example.model import Model
from feature_repo_example.prepare import Layout

SERVICE = "late_departure"
_KEYS = ["carrier", "origin", "tailnum"]
_HEADS = ("leaves", "flight", "route", "aircraft", "landed", "wind", "overdue", "timetable", "online", "pushed")
_FLIGHTS = 12


def show(store: Any, layout: Layout, plain: Model, enriched: Model) -> pd.DataFrame:
    """Print the board and return its flights with their chances: by the `timetable`, `before` and `after` the push.

    Raises CheckError where the online store contradicts the offline store or the pushed observation is not there.
    """
    flights = _next_flights(layout)
    before = flights.join(_online(store, flights))
    pushed = _observation(before)
    _push(store, pushed)
    after = flights.join(_online(store, flights))
    say(f"ok  {_same_as_offline(store, flights, after)}")
    hit = (flights["carrier"] == pushed["carrier"]) & (flights["origin"] == pushed["origin"])
    if not (after.loc[hit, "airport_overdue"] == pushed["airport_overdue"]).all():
        raise checks.CheckError(f"the pushed observation of {pushed['carrier']} at {pushed['origin']} is not online")
    say(f"ok  the pushed observation is online: {int(hit.sum())} flights of {pushed['carrier']} at {pushed['origin']}")
    board = before.assign(
        timetable=plain.predict(flights), before=enriched.predict(before), after=enriched.predict(after)
    )
    _print(board, pushed)
    return board


def _next_flights(layout: Layout) -> pd.DataFrame:
    flights = layout.flights()
    coming = flights[(flights["scheduled"] > pd.Timestamp.now(tz="UTC")) & flights["tailnum"].notna()]
    return coming.sort_values(["scheduled", "flight_id"]).head(_FLIGHTS).reset_index(drop=True)


def _online(store: Any, flights: pd.DataFrame) -> pd.DataFrame:
    rows = flights[[*_KEYS, "scheduled"]].to_dict("records")
    found = store.get_online_features(features=store.get_feature_service(SERVICE), entity_rows=rows).to_df()
    return found.drop(columns=_KEYS)


def _observation(board: pd.DataFrame) -> dict[str, Any]:
    """The one invented row of the demo: whoever has most of the next flights hardly gets any of them away."""
    # The table is computed at full hours; anything else was pushed by an earlier run, and would show no change.
    pushed = pd.to_datetime(board["delays_as_of"], utc=True)
    untouched = board[pushed.isna() | (pushed == pushed.dt.floor("h"))]
    carrier, origin = (untouched if len(untouched) else board).groupby(["carrier", "origin"]).size().idxmax()
    # Feast's UnixTimestamp counts whole seconds.
    now = pd.Timestamp.now(tz="UTC").floor("s")
    return {
        "carrier": carrier,
        "origin": origin,
        "event_timestamp": now,
        "created_timestamp": now,
        "delays_as_of": now,
        "departures": 3,
        "mean_delay": 52.0,
        "late_share": 1.0,
        "overdue": 6,
        "airport_overdue": 21,
        "airport_late_share": 0.8,
    }


def _push(store: Any, observation: dict[str, Any]) -> None:
    from feast.data_source import PushMode

    with quiet():
        store.push("gate_delays", pd.DataFrame([observation]), to=PushMode.ONLINE_AND_OFFLINE)


def _same_as_offline(store: Any, flights: pd.DataFrame, online: pd.DataFrame) -> str:
    """Ask the offline store for this very moment: the same rows must be visible, the pushed one among them."""
    rows = flights[[*_KEYS, "scheduled"]].assign(event_timestamp=pd.Timestamp.now(tz="UTC"))
    offline = store.get_historical_features(rows, features=store.get_feature_service(SERVICE)).to_df()
    return checks.same_online(online, offline, [name for name in offline.columns if name not in rows.columns])


def _print(board: pd.DataFrame, pushed: dict[str, Any]) -> None:
    def number(value: float, form: str, unit: str = "") -> str:
        return "-" if pd.isna(value) else format(value, form) + unit

    where = pushed["carrier"] + pushed["origin"]
    lines = [
        (
            f"{flight.scheduled.tz_convert(NEW_YORK):%a %H:%M}",
            f"{flight.carrier} {flight.flight}",
            f"{flight.origin} {flight.dest}",
            flight.tailnum,
            number(flight.hours_since_arrival, ".0f", " h before"),
            number(flight.wind_speed, ".0f", " mph"),
            number(flight.airport_overdue, ".0f"),
            f"{flight.timetable:.0%}",
            f"{flight.before:.0%}",
            f"{flight.after:.0%} {'<' if flight.carrier + flight.origin == where else ' '}",
        )
        for flight in board.itertuples()
    ]
    say(tabulate(lines, _HEADS, tablefmt="simple", disable_numparse=True, colalign=("left",) * 4 + ("right",) * 6))
    say(
        "Chance to leave late: by the timetable alone, with the online features, and after pushing one observation,\n"
        f"the only row here that is invented: {pushed['overdue']} flights of {pushed['carrier']} overdue "
        f"at {pushed['origin']}, {pushed['airport_overdue']} of all carriers."
    )
