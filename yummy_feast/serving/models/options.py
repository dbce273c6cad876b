"""How requests for predictions are served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from yummy_feast.errors import ConfigError, nearest

ON_MISSING: Final = ("impute_null", "error")


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How requests are served. Raises ConfigError for what cannot be.

    allow_pickle: load files that run code.
    threads: cores that one request may use.
    reload: seconds between looks at the models' folders, 0 for never again.
    request_timeout: seconds that a request may take, 0 for any time.
    max_concurrency: requests under way at once in each worker; more are refused.
    max_body: bytes of a request.
    feature_service, filename: where features of entities come from; empty for requests that bring all inputs.
    overrides: inputs that such requests bring themselves.
    on_missing: what becomes of features that are not there: impute_null or error.
    """

    allow_pickle: bool = False
    threads: int = 1
    reload: float = 2.0
    request_timeout: float = 30.0
    max_concurrency: int = 1000
    max_body: int = 50_000_000
    feature_service: str = ""
    filename: str = "feature_store.yaml"
    overrides: tuple[str, ...] = ()
    on_missing: str = "impute_null"

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ConfigError(f"--threads: {self.threads} is not at least 1")
        if self.on_missing not in ON_MISSING:
            raise ConfigError(f"--on-missing: {self.on_missing!r}", hint=nearest(self.on_missing, ON_MISSING))
        if self.overrides and not self.feature_service:
            raise ConfigError("--override without --feature-service", hint="requests bring every input anyway")
