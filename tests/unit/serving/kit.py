"""A world of ``tests.unit.online.reading`` in a real Redis, and ASGI applications called without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

from feast import RepoConfig

from tests.unit.online.reading import PROJECT, World
from yummy_feast.online.config import YummyOnlineStoreConfig
from yummy_feast.online.redis import connect
from yummy_feast.online.schemas import SchemaBook
from yummy_feast.serving.features.endpoint import FeaturesEndpoint
from yummy_feast.serving.features.metrics import FeatureMetrics
from yummy_feast.serving.features.snapshot import Registries
from yummy_feast.serving.http import Admission, Message

PATH = "/get-online-features"
_Endpoint = TypeVar("_Endpoint", bound=FeaturesEndpoint)


def config_of(world: World, address: str, **settings: Any) -> RepoConfig:
    """The world's configuration with our store at this address."""
    config = copy(world.config)
    config._online_store = YummyOnlineStoreConfig(connection_string=address, **settings)
    return config


def fill(world: World, address: str) -> None:
    """Bring the world's rows into Redis."""
    with connect(YummyOnlineStoreConfig(connection_string=address).redis_settings(None)) as client:
        book = SchemaBook(client, PROJECT)
        for (view, _), schema in world.known.items():
            client.execute_command(*book.registration(view, schema))
        for key, fields in world.hashes.items():
            client.hset(key, mapping=fields)  # type: ignore[arg-type]


def endpoint_of(
    world: World,
    config: RepoConfig,
    *,
    most: int = 100,
    seconds: float = 0,
    max_body: int = 100_000,
    kind: type[_Endpoint] = FeaturesEndpoint,  # type: ignore[assignment]
) -> _Endpoint:
    settings = config.online_store.redis_settings(None)
    book = SchemaBook(lambda: connect(settings), PROJECT)
    registries = Registries(world.registry, config, 0)
    return kind(registries, settings, book, Admission(most, seconds), FeatureMetrics(), max_body)


@dataclass(frozen=True)
class Answered:
    """What an application sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and code of a refusal."""
        return self.status, self.json["detail"]["error"]

    @property
    def columns(self) -> dict[str, dict[str, list[Any]]]:
        """Name -> values, statuses, event timestamps."""
        return dict(zip(self.json["metadata"]["feature_names"], self.json["results"], strict=True))

    @property
    def values(self) -> dict[str, list[Any]]:
        return {name: column["values"] for name, column in self.columns.items()}

    @property
    def statuses(self) -> dict[str, list[str]]:
        return {name: column["statuses"] for name, column in self.columns.items()}


async def call(
    app: Any,
    path: str = PATH,
    body: Any = None,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> Answered:
    """One request. ``body`` is sent as JSON unless it is bytes."""
    sent: list[Message] = []
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    path, _, query = path.partition("?")
    waiting: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    given = {"content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "server": ("127.0.0.1", 6566),
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) == 1, sent
    return Answered(
        starts[0]["status"],
        {name.decode(): value.decode() for name, value in starts[0]["headers"]},
        b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body"),
    )


class Exchanged:
    """An exchange that keeps what becomes of it."""

    def __init__(self) -> None:
        self.answered: Answered | None = None
        self.over = asyncio.get_running_loop().create_future()

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.answered = Answered(status, {name.decode(): value.decode() for name, value in headers}, body)
        self.over.set_result("answered")

    def start_task(self) -> None:
        self.over.set_result("task")


async def quickly(endpoint: Any, body: Any, path: str = PATH, headers: Mapping[str, str] | None = None) -> Exchanged:
    """The same request without a task. ``over`` says how it ended: answered, task, or refused at once."""
    given = {"content-type": "application/json", **(headers or {})}
    scope = {
        "method": "POST",
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    exchange = Exchanged()
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if not endpoint.quick(scope, bytearray(content), exchange):
        exchange.over.set_result("left alone")
    async with asyncio.timeout(10):
        await exchange.over
    return exchange
