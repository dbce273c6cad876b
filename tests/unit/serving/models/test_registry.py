"""A folder that changes is loaded again, and until then, or for good, the old model answers."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.unit.models.saved import SAVED, copy_of
from tests.unit.serving.models.kit import PREDICTION, ask, serving
from yummy_feast.serving.models.app import ModelApp


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


def test_another_content_takes_the_place_of_the_old_and_no_request_is_lost(tmp_path: Path) -> None:
    folder = copy_of("lgb_binary", tmp_path)

    async def check(app: ModelApp) -> None:
        before = app.models.served["default"]
        answers = []

        async def keep_asking() -> None:
            while True:
                answers.append(await ask(app))
                await asyncio.sleep(0.001)

        asking = asyncio.create_task(keep_asking())
        for name in ("MLmodel", "model.lgb"):
            shutil.copy(SAVED / "lgb_forest" / name, folder / name)
            await asyncio.sleep(0.05)
        await until(lambda: app.models.served["default"] is not before)
        await asyncio.sleep(0.05)
        asking.cancel()
        assert {answer.status for answer in answers} == {200}
        values = [answer.json["predictions"][0] for answer in answers]
        assert values[0] == PREDICTION
        assert len(set(values)) == 2
        assert values == sorted(values, key=lambda value: value != PREDICTION)

    serving(check, {"default": folder}, reload=0.05)


def test_a_content_that_cannot_be_loaded_is_told_once_and_changes_nothing(tmp_path: Path) -> None:
    folder = copy_of("lgb_binary", tmp_path)

    async def check(app: ModelApp) -> None:
        before = app.models.served["default"]
        (folder / "model.lgb").write_text("tree\nnothing else\n")
        assert not await app.models.refresh("default")
        assert not await app.models.refresh("default")
        assert (await ask(app)).json == {"predictions": [PREDICTION]}
        shutil.copy(SAVED / "lgb_forest" / "model.lgb", folder / "model.lgb")
        assert await app.models.refresh("default")
        assert app.models.served["default"] is not before

    serving(check, {"default": folder}, reload=0)


def test_a_folder_that_is_gone_leaves_the_model_alone(tmp_path: Path) -> None:
    folder = copy_of("lgb_binary", tmp_path)

    async def check(app: ModelApp) -> None:
        shutil.rmtree(folder)
        await asyncio.sleep(0.3)
        assert (await ask(app)).json == {"predictions": [PREDICTION]}

    serving(check, {"default": folder}, reload=0.05)
