"""Whatever is sent, cancelled and cut into pieces: everybody gets the replies to its own commands."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.online.links import turn, wired
from yummy_feast.online import link as module

SEND, CANCEL, ANSWER, TURN = "send", "cancel", "answer", "turn"

actions = st.lists(
    st.one_of(
        st.tuples(st.just(SEND), st.integers(1, 5)),
        st.tuples(st.just(CANCEL), st.integers(0, 30)),
        st.tuples(st.just(ANSWER), st.integers(1, 60)),
        st.tuples(st.just(TURN), st.just(0)),
    ),
    max_size=60,
)


@given(actions=actions, room=st.integers(1, 12))
def test_replies_never_shift(actions: list[tuple[str, int]], room: int) -> None:
    async def main() -> None:
        link, wire = wired()
        futures: list[asyncio.Future[list[object]]] = []
        expected: list[list[bytes]] = []
        server = bytearray()
        seen = 0

        def serve(limit: int) -> None:
            """Echo what was sent, ``limit`` bytes at most."""
            nonlocal seen
            sent = b"".join(wire.writes)
            server.extend(b"".join(b"+%b\r\n" % word for word in sent[seen:].split()))
            seen = len(sent)
            piece = bytes(server[:limit])
            del server[:limit]
            link.data_received(piece)

        for action, number in actions:
            if action == SEND:
                words = [b"%d.%d" % (len(futures), part) for part in range(number)]
                expected.append(words)
                futures.append(link.exchange(b" ".join(words) + b" ", number))
            elif action == CANCEL and futures:
                futures[number % len(futures)].cancel()
            elif action == ANSWER:
                serve(number)
            else:
                await turn()
        while link.in_flight or not all(future.done() for future in futures):
            await turn()
            serve(1000)
        for future, words in zip(futures, expected, strict=True):
            assert future.cancelled() or future.result() == words
        await link.aclose()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_REPLIES", room)
        asyncio.run(main())
