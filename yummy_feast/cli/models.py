"""`yummy models`: the model server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yummy_feast.cli.options import debug_option, filename_option
from yummy_feast.cli.serving import DURATION, SIZE, serving_options, token_of


@click.group("models")
@debug_option
def group() -> None:
    """The model server: MLflow's REST for LightGBM and CatBoost.

    \b
    Example:
      yummy models serve -m model_dir
    """


@group.command()
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="[NAME=]DIR",
    help="MLmodel folder: a path, s3:// or http(s)://; may be given again, then with names.",
)
@serving_options(port=5000)
@click.option("--allow-pickle", is_flag=True, help="Load files that run code (pickle, cloudpickle, skops): trust them.")
@click.option("--threads", type=int, default=1, show_default=True, metavar="N", help="Cores that one request may use.")
@click.option(
    "--reload",
    type=DURATION,
    default="2s",
    show_default=True,
    help="How often to look whether a folder has another content; 0 for never.",
)
@click.option("--feature-service", default="", metavar="NAME", help="Where features of entities come from; with -f.")
@filename_option
@click.option(
    "--override", "overrides", multiple=True, metavar="INPUT", help="An input that requests by entity bring themselves."
)
@click.option(
    "--on-missing",
    type=click.Choice(["impute_null", "error"]),
    default="impute_null",
    show_default=True,
    help="What becomes of features that are not there.",
)
@click.option(
    "--request-timeout", type=DURATION, default="30s", show_default=True, help="For a request as a whole; 0 for any."
)
@click.option(
    "--max-concurrency",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Requests under way at once in each worker; more are answered with 503.",
)
@click.option("--max-body", type=SIZE, default="50MB", show_default=True, help="Largest request.")
@debug_option
def serve(models: tuple[str, ...], token: str, token_file: Path | None, **options: Any) -> None:
    """Serve models over HTTP until SIGTERM or Ctrl-C: POST /invocations, as `mlflow models serve` takes it.

    With several models each is at /invocations/NAME. A folder that gets another content is loaded again, and no request
    is lost. With --feature-service, requests may name entities instead of inputs.

    \b
    Example:
      yummy models serve -m model_dir -p 5000 --workers 2
      yummy models serve -m late=models/late -m s3://bucket/models/churn
      yummy models serve -m model_dir --feature-service late_departure -f feature_store.yaml
    """
    from yummy_feast.serving.models.serve import model_serve

    model_serve(models, token=token_of(token, token_file), **options)
