"""`yummy spark`: what a Spark session needs before it can start."""

from __future__ import annotations

from json import dumps
from pathlib import Path

import click

from yummy_feast.cli.options import debug_option, json_option

# The rarer needs of `spark.pins`; a test holds the two together.
_MORE = ("azure", "gcs", "glue")


@click.group("spark")
@debug_option
def group() -> None:
    """What Spark needs for `engine: spark`.

    \b
    Example:
      yummy spark jars /opt/spark-jars
    """


@group.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path), envvar="YUMMY_SPARK_JARS")
@click.option("--with", "more", multiple=True, type=click.Choice(_MORE), help="Fetch the jars for this, too.")
@click.option(
    "--ivy-settings",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Ivy's own settings file, where jars come from a mirror. By default: Maven Central.",
)
@json_option
@debug_option
def jars(folder: Path | None, more: tuple[str, ...], ivy_settings: Path | None, json: bool) -> None:
    """Fetch the jars for Delta, Iceberg and S3 into DIR, for machines without network.

    Set `spark_jars: DIR` in the offline_store block then. Without DIR they go to the cache of this user, where every
    session finds them. What is there, whole and of the right versions is left alone. Needs Java.

    \b
    Example:
      yummy spark jars /opt/spark-jars
      yummy spark jars /opt/spark-jars --with glue --json
    """
    from yummy_feast.cli.bars import Bars
    from yummy_feast.spark.ivy import fetch_jars
    from yummy_feast.spark.jars import cache_folder
    from yummy_feast.spark.pins import USUAL

    where = (folder or cache_folder()).expanduser().absolute()
    with Bars(unit="jars") as bars:
        found = fetch_jars(where, (*USUAL, *more), ivy_settings, progress=lambda: bars.update("fetching", 1))
    items = found.manifest.jars
    total = sum(jar.bytes for jar in items)
    if json:
        listed = [{"name": jar.name, "bytes": jar.bytes, "sha256": jar.sha256} for jar in items]
        click.echo(dumps({"folder": str(where), "fetched": found.fetched, "bytes": total, "jars": listed}))
        return
    for jar in items:
        click.echo(f"{jar.bytes / 1e6:9.1f} MB  {jar.name}")
    done = f"{found.fetched} fetched" if found.fetched else "all of them were there"
    click.echo(f"{total / 1e6:9.1f} MB  {len(items)} jars in {where}, {done}")
