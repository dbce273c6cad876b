"""Applications that serve models, called without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tests.unit.models.saved import COLUMNS, SAVED
from tests.unit.serving.kit import Answered, call, quickly
from yummy_feast.serving.models.app import ModelApp
from yummy_feast.serving.models.options import ModelOptions

PATH = "/invocations"
ROW = [0.0012, 0.2987, -0.2741, -0.8906]
SPLIT = {"dataframe_split": {"columns": list(COLUMNS), "data": [ROW]}}
PREDICTION = 0.6767420695937543
"""What lgb_binary says of ROW."""


def serving(
    check: Callable[[ModelApp], Awaitable[None]], places: Mapping[str, str | Path] | None = None, **options: Any
) -> None:
    """Run ``check`` while an application of these models is started."""

    async def run() -> None:
        named = places or {"default": SAVED / "lgb_binary"}
        app = ModelApp({name: str(place) for name, place in named.items()}, ModelOptions(**options))
        await app.start()
        try:
            await check(app)
        finally:
            await app.stop()

    asyncio.run(run())


async def ask(
    app: Any, body: Any = SPLIT, path: str = PATH, kind: str = "application/json", *, once: bool = False
) -> Answered:
    """The answer, which is the same where it can be given without a task; that is not tried where requests count."""
    answered = await call(app, path, body, headers={"content-type": kind})
    if once:
        return answered
    quick = (await quickly(app, body, path, {"content-type": kind})).answered
    if quick is not None:
        assert (quick.status, quick.body) == (answered.status, answered.body)
    return answered
