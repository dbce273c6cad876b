"""How a server of ours is run: where it listens, with how many processes, and what it asks of clients."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from yummy_feast.errors import ConfigError, nearest

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
_MOST_WORKERS: Final = 128


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Everything about a server that is not about what it serves. Times are in seconds, 0 is no limit.

    Raises ConfigError for what cannot be; what can be known only by trying is told when the server is run.

    workers: processes that share the port; each has its own event loop and its own connections.
    header_timeout: from the beginning of a request (or connection) to the end of its head.
    body_timeout: from the end of its head to the end of its body, and for the client to take the answer.
    keep_alive: how long an idle connection is kept.
    drain: the longest end: requests that are under way then are abandoned.
    max_connections: of each worker; beyond them a connection is answered with 503 and closed.
    token: what clients have to send as `Authorization: Bearer`; empty for open doors.
    tls_cert, tls_key: paths of PEM files, both or neither.
    access_log: a line of JSON per request on stdout.
    """

    host: str = "127.0.0.1"
    port: int = 6566
    workers: int = 1
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    keep_alive: float = 75.0
    drain: float = 10.0
    max_connections: int = 10_000
    token: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    access_log: bool = False
    log_level: str = "info"

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"--port: {self.port} is no port", hint="0 to 65535; 0 takes a free one")
        if not 1 <= self.workers <= _MOST_WORKERS:
            raise ConfigError(
                f"--workers: {self.workers} is not between 1 and {_MOST_WORKERS}", hint="as many as there are cores"
            )
        if self.max_connections < 1:
            raise ConfigError(f"--max-connections: {self.max_connections} would serve nobody", hint="at least 1")
        for name in ("header_timeout", "body_timeout", "keep_alive", "drain"):
            if getattr(self, name) < 0:
                raise ConfigError(f"--{name.replace('_', '-')}: {getattr(self, name):g} s is negative")
        if bool(self.tls_cert) != bool(self.tls_key):
            given, missing = ("--tls-cert", "--tls-key") if self.tls_cert else ("--tls-key", "--tls-cert")
            raise ConfigError(f"{given} without {missing}", hint="TLS needs both files")
        if self.token and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise ConfigError("the token holds what no header can", hint="letters, digits and punctuation, no spaces")
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(f"--log-level: {self.log_level!r}", hint=nearest(self.log_level, LOG_LEVELS))

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self.tls_cert else "http"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def url(self, port: int) -> str:
        """Where the server is, as a client writes it. ``port`` is the one that was bound."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{port}"

    def tls(self) -> ssl.SSLContext | None:
        """Certificate and key. ConfigError for files that are missing, damaged or no pair."""
        if not self.tls_cert:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for name, path in (("--tls-cert", self.tls_cert), ("--tls-key", self.tls_key)):
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise ConfigError(f"{name}: {path}: {error.strerror}", hint="give the path of a PEM file") from error
        try:
            # An encrypted key would ask for its password on the terminal.
            context.load_cert_chain(self.tls_cert, self.tls_key, password=_no_password)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or str(error)
            raise ConfigError(
                f"--tls-cert {self.tls_cert}, --tls-key {self.tls_key}: {reason}",
                hint="give a certificate chain and its unencrypted private key, both as PEM",
            ) from error
        return context


def _no_password() -> str:
    raise ValueError("the private key is encrypted")


def configure_logging(level: str) -> None:
    """Log to stderr, unless the program that runs us has logging of its own.

    What uvicorn says of each start, and of each bad request, is for those who debug.
    """
    number = getattr(logging, level.upper())
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("yummy_feast").setLevel(number)
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if level == "debug" else logging.ERROR)
