"""`yummy verify`: does the online store say what the offline store says?"""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Final

import click

from yummy_feast.cli.bars import Bars
from yummy_feast.cli.options import debug_option, filename_option, json_option

if TYPE_CHECKING:
    from yummy_feast.verification import Verification, ViewReport

_HINTS: Final = {
    "missing": "materialize the window again: rows came late, or were removed from the online store",
    "stale": "materialize the window again: rows came late, or a run did not finish",
    "value": "materialize the window again: the source was changed, or something else writes this view",
    "type": "materialize the view again: its rows were written before its types changed, or are damaged",
    "uncovered": "materialize from an earlier start: no run so far asked for these rows",
}


@click.command("verify")
@filename_option
@click.option("-V", "--views", multiple=True, metavar="NAME", help="Only this feature view; may be given again.")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Entities to compare per feature view.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of a view's entities (0 to 1) that may be skewed.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Another seed, other entities.")
@click.option(
    "--relative",
    type=click.FloatRange(0, 1),
    metavar="X",
    help="How far apart floats may be, relative to their size.  [default: what their type rounds to]",
)
@json_option
@debug_option
def command(
    filename: str,
    views: tuple[str, ...],
    sample: int,
    tolerance: float,
    seed: int,
    relative: float | None,
    json: bool,
) -> int:
    """Compare online values with the offline answer at the last materialization.

    Draws entities of each feature view, reads them from the online store and from the sources as of the view's last
    materialization, and counts what differs by cause. Exit code 1 when the share of skewed entities of any view is over
    the tolerance.

    \b
    Example:
      yummy verify --sample 10000 --tolerance 0.001
    """
    from yummy_feast.repository import feast_errors_in_a_line, open_feature_store
    from yummy_feast.verification import verify

    store = open_feature_store(filename)
    with feast_errors_in_a_line(), Bars() as bars:
        found = verify(
            store,
            views=views or None,
            sample=sample,
            seed=seed,
            relative=relative,
            progress=lambda view, stage, count: bars.update(f"{view}: {stage}", count),
        )
    over = found.over(tolerance)
    if json:
        settings = {"sample": sample, "seed": seed, "tolerance": tolerance}
        over_names = [view.view for view in over]
        click.echo(dumps({**settings, "views": [view.to_json() for view in found.views], "over": over_names}))
    else:
        _show(found, over, tolerance)
    return 1 if over else 0


def _show(found: Verification, over: tuple[ViewReport, ...], tolerance: float) -> None:
    from yummy_feast.verification import Cause

    causes = list(Cause)
    rows = [["feature view", "as of", "entities", "equal", *(cause.value for cause in causes), "skew"]]
    for view in found.compared:
        counts = [f"{number:,}" for number in (view.entities, view.equal, *(view.counts.get(c, 0) for c in causes))]
        as_of = f"{view.as_of:%Y-%m-%d %H:%M:%S}" if view.as_of else ""
        rows.append([view.view, as_of, *counts, f"{view.share:.2%}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(cells).rstrip())
    for view in found.views:
        if view.skipped:
            click.echo(f"{view.view}: not compared, it {_as_predicate(view.skipped)}")
        elif view.counts:
            _show_details(view)
    if over:
        names = ", ".join(view.view for view in over)
        click.echo(f"skewed beyond the tolerance of {tolerance:.2%}: {names}")


def _as_predicate(reason: str) -> str:
    return f"was {reason}" if reason.startswith("never") else reason


def _show_details(view: ViewReport) -> None:
    click.echo(f"\n{view.view}")
    if view.features:
        click.echo(
            "  features that differ: " + ", ".join(f"{name} ({count:,})" for name, count in view.features.items())
        )
    for example in view.examples:
        click.echo(f"  {example}")
    for cause in view.counts:
        if cause.value in _HINTS:
            click.echo(f"  to mend {cause.value}: {_HINTS[cause.value]}")
