"""How requests for features are served."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """How requests are served.

    registry_poll: seconds between looks at the registry, 0 for never again.
    request_timeout: seconds that a request may take, 0 for any time.
    max_concurrency: requests under way at once in each worker; more are refused.
    max_body: bytes of a request.
    compat: whose answers are given where the truth and stock Feast differ: none or feast.
    """

    registry_poll: float = 5.0
    request_timeout: float = 5.0
    max_concurrency: int = 1000
    max_body: int = 10_000_000
    compat: str = "none"
