"""`model_serve`: the model server as a function, which the command line calls, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yummy_feast.errors import ConfigError
from yummy_feast.serving.http import Application
from yummy_feast.serving.lean import unchecked_feast
from yummy_feast.serving.models.options import ModelOptions
from yummy_feast.serving.options import LOG_LEVELS, RunOptions
from yummy_feast.serving.run import run

_DEFAULT: Final = "default"
# What the first yummy's levels are called here.
_OLD_LEVELS: Final = {"warn": "warning", "trace": "debug", "critical": "error", "off": "error"}


@dataclass(frozen=True, slots=True)
class ModelAppFactory:
    """Loads the models and makes their application. Raises as ``ModelApp``."""

    places: tuple[tuple[str, str], ...]
    options: ModelOptions

    def __call__(self, metrics_folder: Path | None) -> Application:
        """In the process that serves it."""
        # Feast takes seconds and a hundred megabytes: without a feature service it stays away.
        if self.options.feature_service:
            with unchecked_feast():
                import yummy_feast.serving.models.from_entities  # noqa: F401
        from yummy_feast.serving.models.app import ModelApp

        return ModelApp(dict(self.places), self.options, metrics_folder)


def model_serve(
    model_path: str | Path | Mapping[str, str | Path] | Sequence[str],
    host: str = "127.0.0.1",
    port: int = 5000,
    log_level: str = "info",
    *,
    workers: int = 1,
    allow_pickle: bool = False,
    threads: int = 1,
    reload: float = 2.0,
    feature_service: str = "",
    filename: str | Path = "feature_store.yaml",
    overrides: Sequence[str] = (),
    on_missing: str = "impute_null",
    request_timeout: float = 30.0,
    max_concurrency: int = 1000,
    max_body: int = 50_000_000,
    header_timeout: float = 10.0,
    body_timeout: float = 30.0,
    keep_alive: float = 75.0,
    drain: float = 10.0,
    max_connections: int = 10_000,
    token: str = "",
    tls_cert: str | Path = "",
    tls_key: str | Path = "",
    access_log: bool = False,
) -> None:
    """Serve models over HTTP until SIGTERM or SIGINT; `yummy models serve` in Python.

    With several workers call it below ``if __name__ == "__main__":``, because each of them imports your program's main
    module anew.

    Args:
        model_path: an MLmodel folder, local, on an object store or by URL; several as a mapping of name to folder, or
            as a list of ``name=folder``.
        host, port: where to listen; port 0 takes a free one.
        log_level: debug, info, warning or error.
        workers: processes that share the port.
        allow_pickle: load models whose files run code; they must be trusted.
        threads: cores that one request may use.
        reload: seconds between looks at the folders for another content, 0 for never.
        feature_service: where features of entities come from, with ``filename`` its feature_store.yaml.
        overrides: inputs that requests by entity bring themselves.
        on_missing: what becomes of features that are not there: impute_null or error.
        request_timeout: seconds that a request may take, 0 for any time.
        max_concurrency: requests under way at once in each worker; more are refused with 503.
        max_body: bytes of a request.
        header_timeout: seconds for the head of a request.
        body_timeout: seconds for its body, and for taking the answer.
        keep_alive: seconds that an idle connection is kept.
        drain: seconds that requests under way have at the end.
        max_connections: of each worker.
        token: what clients must send as `Authorization: Bearer`; empty for everybody.
        tls_cert, tls_key: PEM files, both or neither.
        access_log: a line of JSON per request on stdout.

    Raises:
        ModelError: a model cannot be found, read or trusted.
        ConfigError: an option or the repository is wrong, or the port is taken.
    """
    level = log_level.lower()
    run(
        ModelAppFactory(
            places_of(model_path),
            ModelOptions(
                allow_pickle=allow_pickle,
                threads=threads,
                reload=reload,
                request_timeout=request_timeout,
                max_concurrency=max_concurrency,
                max_body=max_body,
                feature_service=feature_service,
                filename=str(filename),
                overrides=tuple(overrides),
                on_missing=on_missing,
            ),
        ),
        RunOptions(
            host=host,
            port=port,
            workers=workers,
            header_timeout=header_timeout,
            body_timeout=body_timeout,
            keep_alive=keep_alive,
            drain=drain,
            max_connections=max_connections,
            token=token,
            tls_cert=str(tls_cert),
            tls_key=str(tls_key),
            access_log=access_log,
            log_level=level if level in LOG_LEVELS else _OLD_LEVELS.get(level, log_level),
        ),
    )


def places_of(models: str | Path | Mapping[str, str | Path] | Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(name, place) of each model. ConfigError for none, for two of one name, and for a name that no path can hold."""
    if isinstance(models, str | Path):
        models = [str(models)]
    pairs = [(name, str(place)) for name, place in models.items()] if isinstance(models, Mapping) else []
    if not isinstance(models, Mapping):
        pairs = [_pair(str(each), len(models)) for each in models]
    if not pairs:
        raise ConfigError("no model", hint="name an MLmodel folder with -m")
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two models are called {name!r}", hint="write -m NAME=DIR for each")
        if not name or not all(letter.isalnum() or letter in "-_." for letter in name):
            raise ConfigError(f"{name!r} cannot be a model's name", hint="letters, digits, - _ and .")
    return tuple(pairs)


def _pair(text: str, count: int) -> tuple[str, str]:
    """``name=place``, or a place alone: its folder's name where there are several. A query of a URL is no name."""
    name, equals, place = text.partition("=")
    if equals and name and "/" not in name and "\\" not in name:
        return name, place
    if count == 1:
        return _DEFAULT, text
    return text.split("?")[0].rstrip("/").replace("\\", "/").rpartition("/")[2], text
