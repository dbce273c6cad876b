"""Progress bars for commands that a person waits for."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType


class Bars:
    """One progress bar on stderr at a time, where a person looks at it."""

    def __init__(self, unit: str = "rows") -> None:
        self._unit = unit
        self._stack = ExitStack()
        self._title = ""
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def update(self, title: str, count: int) -> None:
        """So many more rows (or what ``unit`` says) under this title; another title is another bar."""
        from tqdm import tqdm

        if title != self._title:
            self._stack.close()
            # disable=None: nothing where stderr is no terminal.
            self._bar = self._stack.enter_context(
                tqdm(
                    desc=title,
                    unit=f" {self._unit}",
                    unit_scale=True,
                    disable=None,
                    leave=False,
                    file=sys.stderr,
                    ncols=100,
                )
            )
            self._title = title
        self._bar.update(count)
