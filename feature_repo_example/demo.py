"""`make demo`: from tables in four formats to the chance that the next flights leave late.

Lays the tables out, applies, builds a training set and checks it, trains with and without it, materializes, pushes a
live observation, reads the online features of the next flights, and asks the model about them over HTTP. Every step
says what it did, and fails loudly.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tabulate import tabulate

from feature_repo_example import checks
from feature_repo_example.console import Steps, progress, quiet, say
from feature_repo_example.history import LATE_MINUTES, NEW_YORK
from feature_repo_example.prepare import REPO, Layout, prepare

if TYPE_CHECKING:
    from feature_repo_example.model import Model

_VIEWS = ("weather", "carrier_delays", "last_arrival", "plane")
_FORMATS = {"weather": "CSV", "planes": "Parquet", "carrier_delays": "Delta", "arrivals": "Iceberg"}
# What the demo claims for the features at least: well below what it measures, far above chance.
_LEAST_GAIN = 0.03


def run(repo: Path = REPO, days: int | None = None, again: bool = False) -> dict[str, Any]:
    """The whole demo in `repo`; returns the numbers that it printed. `days` keeps only the last days (for tests)."""
    steps = Steps()
    with steps.step("A year of flights out of New York, moved by whole weeks so that it ends now"):
        layout = prepare(repo, days=days, again=again)
        _show_layout(layout)
    with steps.step("feast apply: features.py goes into the registry"):
        store = _apply(layout)
    with steps.step("A training set: what was known about each flight two hours before it was to leave"):
        training = _training_set(store, layout)
    with steps.step(f"Two models of 'leaves more than {LATE_MINUTES} minutes late', judged on later flights"):
        plain, enriched = _train(training, least_gain=_LEAST_GAIN if days is None else None)
    with steps.step("Materialize: the newest row of every entity goes online"):
        _materialize(store)
    with steps.step("The next flights, read from the online store"):
        from feature_repo_example import board

        flights = board.show(store, layout, plain, enriched)
    with steps.step("The model behind HTTP: asked about flights by their keys, it fetches the features itself"):
        from feature_repo_example import scoring

        scored = scoring.score(layout, enriched, flights)
    with steps.step("A picture of it"):
        from feature_repo_example import model, picture

        file = picture.draw(training[model.split(training)], plain, enriched, layout.data / "demo.png")
        say(os.path.relpath(file))
    _say_next(repo, steps.total())
    aucs = {"auc": enriched.auc, "auc_timetable": plain.auc}
    return {"training": training, "board": flights, "scored": scored, "picture": file, "seconds": steps.total(), **aucs}


def _show_layout(layout: Layout) -> None:
    lines = [(name, f"{layout.rows[name]:,}", form) for name, form in _FORMATS.items()]
    lines.append(("flights", f"{layout.rows['flights']:,}", "the entity rows"))
    say(tabulate(lines, tablefmt="plain", disable_numparse=True, colalign=("left", "right", "left")))
    state = "laid out" if layout.fresh else "still good"
    say(f"{state}: what was known by {layout.now.tz_convert(NEW_YORK):%a %d %b %Y %H:%M} in New York")


def _apply(layout: Layout) -> Any:
    """Run the command itself, as a user would; the store of this process then reads what it wrote."""
    from feast import FeatureStore

    if layout.fresh and (layout.data / "registry.db").exists():
        # What is online came from tables that are gone.
        with quiet():
            FeatureStore(repo_path=str(layout.repo)).teardown()
    command = [sys.executable, "-m", "feast.cli.cli", "-c", str(layout.repo), "apply"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"feast apply failed:\n{done.stdout}{done.stderr}")
    store = FeatureStore(repo_path=str(layout.repo))
    found = {
        "entities": store.list_entities(),
        "feature views": store.list_feature_views(),
        "on-demand view": store.list_on_demand_feature_views(),
        "feature service": store.list_feature_services(),
    }
    say("\n".join(f"{kind:<16}{', '.join(sorted(one.name for one in ones))}" for kind, ones in found.items()))
    return store


def _training_set(store: Any, layout: Layout) -> pd.DataFrame:
    from feature_repo_example.board import SERVICE

    rows = _entity_rows(layout)
    job = store.get_historical_features(entity_df=rows, features=store.get_feature_service(SERVICE))
    training: pd.DataFrame = job.to_df()
    _show_plan(job.explanation())
    say(f"ok  {checks.same_rows(rows, training)}")
    say(f"ok  {checks.nothing_newer(training)}")
    say(f"ok  {checks.same_as_pandas(training, layout.data)}")
    return training


def _show_plan(plan: Any) -> None:
    """The gist of `job.explain()`."""
    lines = [
        (view.view, f"{view.format}, {view.snapshot}", f"{view.matched:,}", f"{view.expired:,}", f"{view.unmatched:,}")
        for view in plan.views
    ]
    heads = ("feature view", "source", "matched", "past its ttl", "unmatched")
    say(tabulate(lines, heads, tablefmt="simple", disable_numparse=True, colalign=("left",) * 2 + ("right",) * 3))


def _entity_rows(layout: Layout) -> pd.DataFrame:
    """Flights of full days, asked about at `predict_at`; `late` is the label.

    The 2.5 % that were cancelled never left, late or not, and are left out.
    """
    flights = layout.flights()
    today = layout.now.tz_convert(NEW_YORK).normalize()
    gone = flights[(flights["scheduled"] < today) & flights["departed"].notna()].reset_index(drop=True)
    facts = gone[["flight_id", "carrier", "origin", "tailnum", "dest", "distance", "hour", "weekday", "scheduled"]]
    return facts.assign(event_timestamp=gone["predict_at"], late=gone["dep_delay"] > LATE_MINUTES)


def _train(training: pd.DataFrame, least_gain: float | None) -> tuple["Model", "Model"]:
    from feature_repo_example import model

    plain = model.train(training, model.TIMETABLE, "training on the timetable")
    enriched = model.train(training, model.ENRICHED, "training with the features")
    later = model.split(training)
    until = training.loc[~later, "scheduled"].max().tz_convert(NEW_YORK)
    say(f"{int((~later).sum()):,} flights up to {until:%d %b} to learn from, {int(later.sum()):,} after it to judge by")
    say(f"AUC {plain.auc:.3f}  timetable alone ({len(plain.columns)} columns)")
    say(f"AUC {enriched.auc:.3f}  with the feature store ({len(enriched.columns)} columns)")
    if least_gain is not None and enriched.auc < plain.auc + least_gain:
        raise checks.CheckError(f"AUC {enriched.auc:.3f} with the features, {plain.auc:.3f} without: too little gained")
    return plain, enriched


def _materialize(store: Any) -> None:
    end = pd.Timestamp.now(tz="UTC")
    start = end - pd.Timedelta(days=370)
    with progress(len(_VIEWS), "materializing") as bar:
        for view in _VIEWS:
            bar.set_description_str(f"materializing {view}")
            with quiet():
                store.materialize(start.to_pydatetime(), end.to_pydatetime(), feature_views=[view])
            bar.update()
    say(f"{', '.join(_VIEWS)}: up to {end.tz_convert(NEW_YORK):%a %H:%M} in New York")


def _say_next(repo: Path, seconds: float) -> None:
    here = os.path.relpath(repo)
    commands = (
        (f"cat {here}/features.py", "everything you have just used"),
        (f"{_program('feast')} -c {here} feature-views list", "Feast's own commands work here"),
        (f"{_program('yummy')} --help", "and these are ours"),
        (f"{_program('yummy')} store stop -f {here}/feature_store.yaml", "the online store runs until then"),
    )
    print(f"\nDone in {seconds:.0f} s. Next:")
    say(tabulate(commands, tablefmt="plain"))


def _program(name: str) -> str:
    """How to call a program of this environment from the shell that called us; `make demo` activates nothing."""
    ours = Path(sys.executable).with_name(name)
    return name if shutil.which(name) == str(ours) else os.path.relpath(ours)


def main() -> None:
    """Command line of `python -m feature_repo_example.demo`."""
    parser = argparse.ArgumentParser(prog="python -m feature_repo_example.demo", description=__doc__)
    parser.add_argument("--days", type=int, help="only the last so many days")
    parser.add_argument("--again", action="store_true", help="lay the tables out again even if they are recent")
    options = parser.parse_args()
    run(days=options.days, again=options.again)


if __name__ == "__main__":
    main()
