"""`feature_serve`: the feature server as a function, which the command line calls, too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from yummy_feast.errors import ConfigError
from yummy_feast.serving.features.options import ServingOptions
from yummy_feast.serving.http import Application
from yummy_feast.serving.lean import unchecked_feast
from yummy_feast.serving.options import RunOptions
from yummy_feast.serving.run import run

_PRELOAD: Final = ("yummy_feast.serving.features.preloaded",)


@dataclass(frozen=True, slots=True)
class FeatureAppFactory:
    """Opens a repository and makes its application. ConfigError for whatever is wrong with it.

    has_token: whether clients have to bring a token of this server's own.
    """

    filename: str
    options: ServingOptions
    has_token: bool = False

    def __call__(self, metrics_folder: Path | None) -> Application:
        """In the process that serves it."""
        with unchecked_feast():
            from yummy_feast.serving.features.app import FeatureApp
        from yummy_feast.repository import feast_errors_in_a_line, open_feature_store

        store = open_feature_store(self.filename)
        auth = store.config.auth_config
        if self.has_token and auth is not None and auth.type != "no_auth":
            raise ConfigError(
                f"{self.filename}: auth.type is {auth.type!r}, and --token is given: a request has one bearer token",
                hint="leave --token out: the auth block asks for tokens of its own",
            )
        with feast_errors_in_a_line():
            try:
                return FeatureApp(store, self.options, metrics_folder)
            except FileNotFoundError as error:
                raise ConfigError(f"{self.filename}: no registry: {error}", hint="run `feast apply` first") from error


def feature_serve(
    filename: str | Path = "feature_store.yaml",
    *,
    host: str = "127.0.0.1",
    port: int = 6566,
    workers: int = 1,
    registry_poll: float = 5.0,
    request_timeout: float = 5.0,
    max_concurrency: int = 1000,
    max_body: int = 10_000_000,
    compat: str = "none",
    header_timeout: float = 10.0,
    body_timeout: float = 30.0,
    keep_alive: float = 75.0,
    drain: float = 10.0,
    max_connections: int = 10_000,
    token: str = "",
    tls_cert: str | Path = "",
    tls_key: str | Path = "",
    access_log: bool = False,
    log_level: str = "info",
) -> None:
    """Serve the online features of a repository over HTTP until SIGTERM or SIGINT; `yummy features serve` in Python.

    With several workers call it below ``if __name__ == "__main__":``, because each of them imports your program's main
    module anew.

    Args:
        filename: path or http(s) URL of a feature_store.yaml.
        host, port: where to listen; port 0 takes a free one.
        workers: processes that share the port.
        registry_poll: seconds between looks at the registry, 0 for never again.
        request_timeout: seconds that a request may take, 0 for any time.
        max_concurrency: requests under way at once in each worker; more are refused with 503.
        max_body: bytes of a request.
        compat: "feast" answers as stock Feast does where the truth differs.
        header_timeout: seconds for the head of a request.
        body_timeout: seconds for its body, and for taking the answer.
        keep_alive: seconds that an idle connection is kept.
        drain: seconds that requests under way have at the end.
        max_connections: of each worker.
        token: what clients must send as `Authorization: Bearer`; empty for everybody.
        tls_cert, tls_key: PEM files, both or neither.
        access_log: a line of JSON per request on stdout.
        log_level: debug, info, warning or error.

    Raises:
        ConfigError: an option, the configuration or the registry is wrong, or the port is taken.
    """
    run(
        FeatureAppFactory(
            str(filename),
            ServingOptions(registry_poll, request_timeout, max_concurrency, max_body, compat),
            bool(token),
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
            log_level=log_level,
        ),
        _PRELOAD,
    )
