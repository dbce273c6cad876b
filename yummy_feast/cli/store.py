"""`yummy store`: the embedded server of a repository."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from yummy_feast.cli.options import debug_option, filename_option, json_option
from yummy_feast.errors import ConfigError, nearest

if TYPE_CHECKING:
    from yummy_feast.online.conversion import Conversion
    from yummy_feast.online.embedded import ServerStatus

# What feature_store.yaml calls our online store, and the keys of its block. Feast would tell too, but takes four
# seconds to import; a test holds this list and the store's own together.
_STORE_TYPES: Final = ("yummy_feast.YummyOnlineStore", "yummy_feast.online.store.YummyOnlineStore")
_STORE_KEYS: Final = (
    "type",
    "connection_string",
    "redis_type",
    "sentinel_master",
    "layout",
    "key_ttl_seconds",
    "retention",
    "on_stale",
    "connect_timeout",
    "read_timeout",
    "retries",
    "client",
    "skip_dedup",
    "full_scan_for_deletion",
)
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")


@click.group("store")
@debug_option
def group() -> None:
    """The embedded online server of this repository.

    With `connection_string: embedded` whatever needs it first starts it, and it runs in the background until stopped.

    \b
    Example:
      yummy store status --json
    """


@group.command()
@filename_option
@json_option
@debug_option
def start(filename: str, json: bool) -> None:
    """Start the server, unless it runs already.

    \b
    Example:
      yummy store start -f feature_repo/feature_store.yaml
    """
    from yummy_feast.online import embedded

    repo_path = _embedded_repo(filename, "start")
    with _loading_bar() as on_loading:
        embedded.ensure(repo_path, on_loading=on_loading)
    _show(embedded.status(repo_path), json)


@group.command()
@filename_option
@json_option
@debug_option
def stop(filename: str, json: bool) -> None:
    """Stop the server; its rows stay and are back at the next start.

    \b
    Example:
      yummy store stop
    """
    from yummy_feast.online import embedded

    stopped = embedded.stop(_embedded_repo(filename, "stop"))
    if json:
        click.echo(dumps({"stopped": stopped}))
    else:
        click.echo("stopped" if stopped else "it was not running")


@group.command()
@filename_option
@json_option
@debug_option
def status(filename: str, json: bool) -> None:
    """Show whether the server runs, where it listens, and what it holds. Starts nothing.

    \b
    Example:
      yummy store status --json
    """
    from yummy_feast.online import embedded

    _show(embedded.status(_embedded_repo(filename, "show")), json)


@group.command()
@filename_option
@click.option("--to", type=click.Choice(["rows", "feast"]), required=True, help="The layout to copy the rows into.")
@click.option("--from", "source", type=click.Choice(["rows", "feast"]), help="The layout they are in: the other one.")
@click.option("--remove-source", is_flag=True, help="Afterwards remove the rows from the layout they were in.")
@json_option
@debug_option
def convert(filename: str, to: str, source: str | None, remove_source: bool, json: bool) -> int:
    """Copy a project's rows into another layout, while it is being served.

    Run it, set `layout` in feature_store.yaml, restart what reads and writes, and run it again to catch up. What is
    newer in the layout it copies into stays. Exit code 1 when a row could not be read.

    \b
    Example:
      yummy store convert --to feast
      yummy store convert --to feast --remove-source
    """
    from yummy_feast.cli.bars import Bars
    from yummy_feast.online.conversion import convert as copy
    from yummy_feast.repository import feast_errors_in_a_line, open_feature_store

    if source == to:
        raise click.UsageError(f"--from and --to are both {to}")
    store = open_feature_store(filename)
    with feast_errors_in_a_line(), Bars() as bars:
        found = copy(store, to, remove_source=remove_source, progress=lambda _, rows: bars.update("rows", rows))
    if json:
        click.echo(dumps(asdict(found)))
    else:
        _show_conversion(found)
    return 1 if found.unreadable else 0


def _show_conversion(found: Conversion) -> None:
    for view in found.views:
        counts = f"{view.copied:,} rows copied, {view.already:,} already there, {view.older:,} older"
        click.echo(f"{view.view}: {counts}, {view.unreadable:,} unreadable")
        for example in view.examples:
            click.echo(f"  unreadable: {example}")
    click.echo(f"{found.keys:,} entity keys of layout {found.source} looked at, {found.removed:,} removed")
    if found.foreign:
        click.echo(f"{found.foreign:,} of them left alone: no feature view has their join keys")
    if found.unreadable:
        click.echo("what is unreadable was not copied, and nothing was removed: materialize those views again")


def _embedded_repo(filename: str, verb: str) -> Path:
    """The repository whose server a configuration file means.

    Raises:
        ConfigError: the file or its `online_store` block is wrong, or the block names a Redis that is not ours to run.
    """
    from yummy_feast.online.address import RedisSettings
    from yummy_feast.settings import interpolate_all, is_url

    block = _online_store_block(filename)
    repo_path = Path.cwd() if is_url(filename) else Path(filename).resolve().parent
    keys = ("redis_type", "sentinel_master", "connect_timeout", "read_timeout", "retries")
    try:
        given = interpolate_all({key: block[key] for key in keys if key in block}, "online_store")
        settings = RedisSettings.parse(block.get("connection_string", "embedded"), repo_path=repo_path, **given)
    except ConfigError as error:
        raise ConfigError(f"{filename}: {error.message}", hint=error.hint) from error
    if settings.repo_path is None:
        raise ConfigError(
            f"{filename}: online_store.connection_string is not 'embedded', so there is no server to {verb} here",
            hint=f"{settings.address} is run by others; with connection_string: embedded this repository has its own",
        )
    return settings.repo_path


def _online_store_block(filename: str) -> dict[str, Any]:
    """The `online_store` block of a feature_store.yaml, its keys checked and its variables not yet filled.

    Raises:
        ConfigError: it is not there, is another store's, or has a key that store does not know.
    """
    from yummy_feast.settings import load_yaml, read_text

    # As Feast does: it fills $NAME and ${NAME} before it reads the YAML, and leaves ${NAME:-default} to the store.
    document = load_yaml(os.path.expandvars(read_text(filename)), filename, fill=False)
    if not isinstance(document, dict):
        raise ConfigError(f"{filename}: is not a mapping of keys to values", hint="is it a feature_store.yaml?")
    block = document.get("online_store")
    kind = block.get("type") if isinstance(block, dict) else block
    if not isinstance(block, dict) or kind not in _STORE_TYPES:
        raise ConfigError(f"{filename}: online_store.type is {kind!r}", hint=f"set it to {_STORE_TYPES[0]}")
    for key in block:
        if key not in _STORE_KEYS:
            raise ConfigError(f"{filename}: unknown key online_store.{key}", hint=nearest(str(key), _STORE_KEYS))
    address = block.get("connection_string", "embedded")
    if not isinstance(address, str):
        raise ConfigError(f"{filename}: online_store.connection_string: {address!r} is not text")
    return block


def _show(found: ServerStatus, json: bool) -> None:
    if json:
        values = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(found).items()}
        click.echo(dumps({"running": found.is_running, **values}))
        return
    lines = {"state": found.state}
    if found.is_running:
        lines["server"] = f"valkey {found.version}, pid {found.pid}" if found.version else f"pid {found.pid}"
    if found.uptime_seconds is not None:
        lines["up"] = _duration(found.uptime_seconds)
    lines["socket"] = str(found.socket_path)
    lines["data"] = f"{found.data_path} ({_size(found.data_bytes)})"
    if found.keys is not None and found.memory_bytes is not None:
        lines["keys"] = f"{found.keys:,}"
        lines["memory"] = _size(found.memory_bytes)
    for name, text in lines.items():
        click.echo(f"{name:<8}{text}")


def _size(count: float) -> str:
    """``1234567`` -> ``1.2 MB``."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{count:.0f} {_UNITS[unit]}"


def _duration(seconds: int) -> str:
    """``3725`` -> ``1 h 2 min``: the two largest units."""
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count or unit == "s")


@contextmanager
def _loading_bar() -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr for as long as the server loads its rows; nothing if it need not."""
    with ExitStack() as stack:
        bar: Any = None

        def show(percent: float) -> None:
            nonlocal bar
            if bar is None:
                bar = stack.enter_context(click.progressbar(length=100, label="loading rows", file=sys.stderr))
            bar.update(max(0, int(percent) - bar.pos))

        yield show
