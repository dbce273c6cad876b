"""`yummy`: the command line, one module for each room's commands.

A command reads its options, calls its room, and prints what that returned. Rooms are imported inside the commands, so
that `yummy --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from yummy_feast.cli import bench, features, models, spark, store, verify
from yummy_feast.cli.options import Invocation, debug_option
from yummy_feast.errors import YummyError

if TYPE_CHECKING:
    from types import TracebackType


@click.group(context_settings={"auto_envvar_prefix": "YUMMY", "max_content_width": 100})
@click.version_option(package_name="yummy-feast", prog_name="yummy", message="%(prog)s %(version)s")
@debug_option
def yummy() -> None:
    """Feast on Parquet, CSV, Delta and Iceberg, with fast online features.

    Every option can also be set in the environment: --filename of `yummy store start` is YUMMY_STORE_START_FILENAME.

    \b
    Example:
      yummy store status
    """


yummy.add_command(bench.group)
yummy.add_command(features.group)
yummy.add_command(models.group)
yummy.add_command(spark.group)
yummy.add_command(store.group)
yummy.add_command(verify.command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (``sys.argv`` by default) and return its exit code.

    0: done; 1: it failed, and one line on stderr says why and what to do; 2: the command line itself is wrong.
    With `--debug` the error is raised instead, so that Python prints its traceback.
    """
    invocation = Invocation()
    with _bugs_told_in_a_line(invocation):
        try:
            result = yummy.main(arguments, prog_name="yummy", standalone_mode=False, obj=invocation)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return error.exit_code
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "yummy"
            return _fail(f"{error.format_message()} (see {command} --help)", error.exit_code)
        except click.ClickException as error:
            return _fail(error.format_message(), error.exit_code)
        except click.Abort:
            return _fail("interrupted")
        except BrokenPipeError:
            # Whoever reads our output has read enough. Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (YummyError, OSError) as error:
            if invocation.debug:
                raise
            return _fail(str(error))
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int = 1) -> int:
    click.echo(f"yummy: {' '.join(message.split())}", err=True)
    return code


@contextmanager
def _bugs_told_in_a_line(invocation: Invocation) -> Iterator[None]:
    """An error nobody foresaw is a bug: it leaves ``main``, and Python prints one line instead of a traceback."""
    python_tells = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if invocation.debug:
            python_tells(kind, error, trace)
        else:
            _fail(f"{kind.__name__}: {error} (this is a bug in yummy; --debug shows where)")

    sys.excepthook = tell
    yield
    # Not in a finally: an error on its way out of here is what the hook is for.
    sys.excepthook = python_tells
