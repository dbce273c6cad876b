"""`yummy bench`: what the benchmarks page claims, against what is installed beside us."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from yummy_feast.cli.options import debug_option
from yummy_feast.errors import ConfigError

_FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
_TITLES = {
    "features": "feature servers: ours, `feast serve`, and what an ASGI server costs without any work",
    "materialize": "materialization into Redis, beside Feast's own stores",
    "models": "model servers: ours and `mlflow models serve`",
    "offline": "point-in-time joins, beside Feast's own stores",
    "online": "get_online_features of the SDK, beside Feast's Redis store",
}


@click.group("bench")
@debug_option
def group() -> None:
    """Measure what docs/benchmarks.md claims, here.

    What stands behind the name of a benchmark goes to its script. The scripts are part of the repository, not of the
    installed package.

    \b
    Example:
      yummy bench features --cases floors --rounds 3
    """


def _command(name: str) -> click.Command:
    @debug_option
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def run(arguments: tuple[str, ...]) -> int:
        script = _FOLDER / f"{name}.py"
        if not script.is_file():
            raise ConfigError(
                f"benchmarks/{name}.py is not here: the installed package comes without the benchmarks",
                hint="clone the repository and run `make bench`, or `yummy bench` from its environment",
            )
        return subprocess.run([sys.executable, str(script), *arguments], check=False).returncode  # noqa: S603 - ours

    return click.command(
        name,
        short_help=_TITLES[name],
        help=f"Measure {_TITLES[name]}.\n\n`yummy bench {name} -- --help` shows the sizes and options there are."
        f"\n\n\b\nExample:\n  yummy bench {name} --json",
        context_settings={"ignore_unknown_options": True},
    )(run)


for _name in _TITLES:
    group.add_command(_command(_name))
