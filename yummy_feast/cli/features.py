"""`yummy features`: the feature server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yummy_feast.cli.options import debug_option, filename_option
from yummy_feast.cli.serving import DURATION, SIZE, serving_options, token_of


@click.group("features")
@debug_option
def group() -> None:
    """The feature server: Feast's REST for online features.

    \b
    Example:
      yummy features serve --workers 2
    """


@group.command()
@filename_option
@serving_options(port=6566)
@click.option(
    "-r",
    "--registry-poll",
    "--registry_ttl_sec",
    "registry_poll",
    type=DURATION,
    default="5s",
    show_default=True,
    help="How often to look at the registry; 0 for once.",
)
@click.option(
    "--request-timeout",
    type=DURATION,
    default="5s",
    show_default=True,
    help="For a request for features as a whole; 0 for any time.",
)
@click.option(
    "--max-concurrency",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Requests under way at once in each worker; more are answered with 503.",
)
@click.option("--max-body", type=SIZE, default="10MB", show_default=True, help="Largest request.")
@click.option(
    "--compat",
    type=click.Choice(["none", "feast"]),
    default="none",
    show_default=True,
    help="Whose answers to give where the truth and stock Feast differ.",
)
@debug_option
def serve(filename: str, token: str, token_file: Path | None, **options: Any) -> None:
    """Serve online features over HTTP until SIGTERM or Ctrl-C.

    Says "ready on http://..." once the registry is loaded and Redis answers. After SIGTERM, requests under way are
    answered. With --workers, SIGHUP replaces the workers one by one.

    \b
    Example:
      yummy features serve -f feature_repo/feature_store.yaml -p 6566 --workers 2
      YUMMY_FEATURES_SERVE_TOKEN=secret yummy features serve -h 0.0.0.0
    """
    from yummy_feast.serving.features.serve import feature_serve

    feature_serve(filename, token=token_of(token, token_file), **options)
