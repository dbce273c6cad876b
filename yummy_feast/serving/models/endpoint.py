"""``POST /invocations`` as plain ASGI: the hot path, from the bytes of a request to the bytes of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.errors import nearest
from yummy_feast.serving.http import (
    Admission,
    RefusedError,
    Scope,
)
from yummy_feast.serving.models.metrics import ModelMetrics
from yummy_feast.serving.models.refusals import body_of
from yummy_feast.serving.models.stages import Stages
from yummy_feast.serving.models.work import Served, answer_json, answer_large, answer_table
from yummy_feast.serving.quick import QuickEndpoint, Read

if TYPE_CHECKING:
    from yummy_feast.serving.models.from_entities import FromEntities
    from yummy_feast.serving.models.registry import Models

PATH: Final = "/invocations"
_TABLES: Final = {"text/csv": "csv", "application/vnd.apache.parquet": "parquet"}
_KINDS: Final = ("application/json", *_TABLES)
# A body of this size is decoded in about a millisecond; larger ones are in a thread, a piece at a time.
_LARGE: Final = 128_000
_THREADS: Final = 2
_ENTITIES: Final = b'"entities"'


class InvocationsEndpoint(QuickEndpoint[Stages, ModelMetrics, Any]):
    """Answers requests for predictions.

    Args:
        models: what is served.
        features: answers requests that name entities; None without a feature service.
        max_body: bytes of a request.
    """

    stages = Stages
    late = "--request-timeout of the server waits longer"

    def __init__(
        self,
        models: Models,
        features: FromEntities | None,
        admission: Admission,
        metrics: ModelMetrics,
        max_body: int,
    ) -> None:
        self._models = models
        self._features = features
        super().__init__(admission, metrics, max_body)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="yummy-models")
        self._paths = {f"{PATH}/{name}": name for name in models.served}
        if len(models.served) == 1:
            self._paths[PATH] = next(iter(models.served))

    async def answer(self, scope: Scope, body: bytes, stages: Stages) -> bytes:
        """The JSON that answers ``body``. RefusedError."""
        served = self._served(scope["path"])
        kind = _kind_of(scope)
        if kind != "application/json":
            return await self._in_thread(lambda: answer_table(served, body, _TABLES[kind], stages))
        if self._features is not None and _ENTITIES in body:
            found = await self._features.answer(served, body, stages)
            if found is not None:
                return found
        if len(body) > _LARGE:
            return await self._in_thread(lambda: answer_large(served, body, stages))
        answer = answer_json(served, body, stages)
        return answer if isinstance(answer, bytes) else await self._in_thread(answer)

    def begin(self, scope: Scope, body: bytes, stages: Stages) -> bytes | tuple[Any, Read] | None:
        """The answer itself, unless features have to be read for it. None for what may take long."""
        if len(body) > _LARGE or _kind_of(scope) != "application/json":
            return None
        served = self._served(scope["path"])
        if self._features is not None and _ENTITIES in body:
            return self._features.begin(served, body, stages)
        answer = answer_json(served, body, stages)
        return answer if isinstance(answer, bytes) else None

    def end(self, asked: Any, replies: list[Any], stages: Stages) -> bytes | None:
        """The answer from features that were read."""
        return None if self._features is None else self._features.end(asked, replies, stages)

    async def _in_thread(self, work: Callable[[], bytes]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _served(self, path: str) -> Served:
        name = self._paths.get(path)
        if name is None:
            names = list(self._models.served)
            asked = path.removeprefix(PATH).strip("/")
            if not asked:
                raise RefusedError(404, "MODEL_NOT_FOUND", "several models are served", f"POST to {PATH}/{names[0]}")
            raise RefusedError(404, "MODEL_NOT_FOUND", f"there is no model {asked!r}", nearest(asked, names))
        return self._models.served[name]

    def answered(self, stages: Stages, ended: float) -> None:
        """Counted, its time included."""
        self._metrics.answered(stages, ended)

    def refusal(self, error: RefusedError) -> bytes:
        """As MLflow writes it."""
        return body_of(error)

    def close(self) -> None:
        """Let what runs in threads come to its end, without waiting for it."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _kind_of(scope: Scope) -> str:
    """The content type without its charset. RefusedError (415) for one that is not served."""
    given = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    if given == b"application/json":
        return "application/json"
    kind, *settings = (part.strip() for part in given.decode("latin-1").split(";"))
    kind = kind.lower()
    if kind not in _KINDS:
        told = f"the content type is {given.decode('latin-1')!r}" if given else "there is no content type"
        raise RefusedError(415, "UNSUPPORTED_MEDIA_TYPE", told, f"send one of {', '.join(_KINDS)}")
    for setting in settings:
        name, _, value = setting.partition("=")
        if name.strip().lower() != "charset" or value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            raise RefusedError(415, "UNSUPPORTED_MEDIA_TYPE", f"{setting!r} is not understood", "send UTF-8")
    return kind
