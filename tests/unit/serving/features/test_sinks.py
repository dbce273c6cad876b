"""What stores raise is a refusal."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from yummy_feast.errors import ServerUnavailableError, ValueTypeError
from yummy_feast.serving.features.sinks import OurSink, SdkSink
from yummy_feast.serving.http import RefusedError


class Store:
    """Takes rows, or raises; both ways that Feast has."""

    def __init__(self, error: Exception | None = None, *, is_async: bool = True) -> None:
        self.error = error
        self.written: list[Any] = []
        self.async_supported = SimpleNamespace(online=SimpleNamespace(write=is_async))

    def online_write_batch(self, config: Any, view: Any, rows: list[Any], progress: Any) -> None:
        if self.error is not None:
            raise self.error
        self.written.append((view, rows))

    async def online_write_batch_async(self, config: Any, view: Any, rows: list[Any], progress: Any) -> None:
        assert self.async_supported.online.write
        self.online_write_batch(config, view, rows, progress)


def refusal(sink: Any) -> tuple[int, str]:
    with pytest.raises(RefusedError) as refused:
        asyncio.run(sink.write("v", [1]))
    return refused.value.status, refused.value.code


def of_sdk(store: Store) -> SdkSink:
    own: Any = SimpleNamespace(provider=store)
    config: Any = None
    return SdkSink(own, config)


def of_ours(store: Store) -> OurSink:
    online: Any = store
    config: Any = None
    return OurSink(online, config)


def test_rows_arrive() -> None:
    for make, is_async in ((of_ours, True), (of_sdk, True), (of_sdk, False)):
        store = Store(is_async=is_async)
        asyncio.run(make(store).write("v", (1, 2)))
        assert store.written == [("v", [1, 2])]


def test_errors_of_ours() -> None:
    assert refusal(of_ours(Store(ServerUnavailableError("away")))) == (503, "ONLINE_STORE_UNAVAILABLE")
    assert refusal(of_ours(Store(ValueTypeError("no")))) == (422, "INVALID_VALUES")


@pytest.mark.parametrize("is_async", [True, False])
def test_errors_of_others(is_async: bool) -> None:
    assert refusal(of_sdk(Store(KeyError("x"), is_async=is_async))) == (503, "ONLINE_STORE_UNAVAILABLE")
