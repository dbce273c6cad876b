"""What configuration files have in common: durations, sizes, variables from the environment, and how they are read.

Every function takes the name of the setting (``online_store.connect_timeout``) and puts it first in its ConfigError.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from yummy_feast.errors import ConfigError

_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

# DuckDB and Kubernetes agree: GB and G count in thousands, GiB and Gi in 1024s.
_BYTES: Final = {"": 1, "b": 1} | {
    prefix.lower() + suffix: base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}

_QUANTITY: Final = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z]*)\s*", re.ASCII)
_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?:([^}]*)\})?")
_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.ASCII | re.DOTALL)

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})

_FETCH_TIMEOUT: Final = 10.0


def parse_duration(value: object, name: str) -> float:
    """Seconds as a float: from a number (seconds) or text with a unit: ``500ms``, ``2s``, ``1.5m``, ``2h``, ``1d``.

    Raises:
        ConfigError: another type, an unknown unit, or a negative or infinite number.
    """
    return _quantity(value, name, _SECONDS, "a duration", "write seconds, or a unit: 500ms, 2s, 1m, 2h, 1d")


def parse_size(value: object, name: str) -> int:
    """Bytes: from a number or text with a unit; KB MB GB TB count in thousands, KiB MiB GiB TiB in 1024s.

    Raises:
        ConfigError: another type, an unknown unit, or a negative or infinite number.
    """
    return int(_quantity(value, name, _BYTES, "a size", "write bytes, or a unit: 512MiB, 4GB"))


def _quantity(value: object, name: str, units: Mapping[str, float], kind: str, hint: str) -> float:
    error = ConfigError(f"{name}: {value!r} is not {kind}", hint=hint)
    # True is an int to Python, and nobody means one second by it.
    if isinstance(value, bool):
        raise error
    if isinstance(value, int | float):
        if not 0 <= value < float("inf"):
            raise error
        return float(value)
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2].lower() not in units:
        raise error
    return float(match[1]) * units[match[2].lower()]


def parse_bool(value: object, name: str) -> bool:
    """True or False: from a bool or one of the words true/false, yes/no, on/off, 1/0 in any case.

    Raises:
        ConfigError: anything else.
    """
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ConfigError(f"{name}: {value!r} is neither true nor false")


def interpolate(text: str, name: str, environ: Mapping[str, str] | None = None) -> str:
    """``text`` with ``${NAME}`` and ``${NAME:-default}`` filled from ``environ`` (the process's own by default).

    As in a shell, the default also stands in for an empty variable. ``$${`` is a literal ``${``; a ``$`` without
    brace is left alone. What a variable holds is not looked into again.

    Raises:
        ConfigError: a variable without default that is not set, or a reference that is malformed.
    """
    variables = os.environ if environ is None else environ

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        reference = _VARIABLE.fullmatch(match[1]) if match[1] is not None else None
        if reference is None:
            raise ConfigError(f"{name}: '{match[0]}' is no variable", hint="write ${NAME} or ${NAME:-default}")
        variable, default = reference.groups()
        value = variables.get(variable)
        if default is not None:
            return value or default
        if value is None:
            raise ConfigError(
                f"{name}: the environment variable {variable} is not set",
                hint=f"export {variable}=..., or write ${{{variable}:-default}}",
            )
        return value

    return _REFERENCE.sub(fill, text)


def interpolate_all(value: object, name: str, environ: Mapping[str, str] | None = None) -> Any:
    """``value`` with every text inside its mappings and lists interpolated; ``name`` grows into a path for errors.

    Raises:
        ConfigError: as ``interpolate``.
    """
    if isinstance(value, str):
        return interpolate(value, name, environ)
    if isinstance(value, Mapping):
        return {key: interpolate_all(item, f"{name}.{key}", environ) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [interpolate_all(item, f"{name}[{index}]", environ) for index, item in enumerate(value)]
    return value


def refuse_unfilled(value: object, name: str) -> None:
    """Look through what Feast has filled: it knows ``${NAME}`` of variables that are set, and leaves all else as it is.

    Raises:
        ConfigError: a text inside ``value`` that still refers to a variable.
    """
    if isinstance(value, str) and "${" in value:
        raise ConfigError(
            f"{name}: '{value}' is not filled: outside of offline_store and online_store Feast knows ${{NAME}} alone, "
            "and only while it is set",
            hint="export the variable, and write it without a default",
        )
    if isinstance(value, Mapping):
        for key, item in value.items():
            refuse_unfilled(item, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:
            refuse_unfilled(item, name)


def load_yaml(text: str, name: str, environ: Mapping[str, str] | None = None, *, fill: bool = True) -> Any:
    """Parse one YAML document and interpolate its scalars (unless not to ``fill``); an empty document is None.

    The variables are filled after the text is split into scalars: a value with a colon or a newline cannot change the
    document, comments may mention variables freely, ``port: ${PORT:-80}`` is a number and ``"${PORT:-80}"`` a text.

    Raises:
        ConfigError: text that is not YAML (with line and column), or as ``interpolate``.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            line = event.start_mark.line + 1
            if fill:
                event.value = interpolate(event.value, f"{name}, line {line}", environ)
            node: yaml.ScalarNode = super().compose_scalar_node(anchor)
            return node

    try:
        return yaml.load(text, Loader)  # noqa: S506 - the loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{name}{place}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {' '.join(str(error).split())}") from error


def read_text(source: str | Path) -> str:
    """The text of a configuration file, from a local path or an http(s) URL.

    Raises:
        ConfigError: no such file, no answer, or bytes that are not UTF-8.
    """
    try:
        data = _fetch(str(source)) if is_url(source) else Path(source).read_bytes()
        return data.decode("utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{source}: no such file", hint="name the configuration file with -f") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        # URLError is an OSError too; its reason is what a person wants to read.
        reason = getattr(error, "reason", None) or error.strerror or error
        raise ConfigError(f"{source}: cannot be read: {reason}") from error


def is_url(source: str | Path) -> bool:
    """Whether a configuration file is named by an http(s) URL."""
    return isinstance(source, str) and source.startswith(("http://", "https://"))


def _fetch(url: str) -> bytes:
    from urllib.request import urlopen

    with urlopen(url, timeout=_FETCH_TIMEOUT) as response:  # noqa: S310 - is_url() allowed http(s) only
        body: bytes = response.read()
    return body


@contextmanager
def reading_feature_store_yaml(section: str) -> Iterator[None]:
    """Make one line that names the file of whatever is wrong with a section of feature_store.yaml.

    Raises:
        ConfigError: for a ConfigError from inside, and for pydantic's ValidationError, which would take four lines.
    """
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"feature_store.yaml: {error.message}", hint=error.hint) from None
    except ValueError as error:
        from pydantic import ValidationError

        if not isinstance(error, ValidationError):
            raise
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, (section, *first["loc"])))
        raise ConfigError(f"feature_store.yaml: {key}: {first['input']!r}: {first['msg']}") from None
