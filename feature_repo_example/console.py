"""How the demo talks: numbered steps with their seconds, and no chatter of others in between."""

import contextlib
import io
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from tqdm import tqdm


@dataclass(slots=True)
class Steps:
    """Numbers the steps and says how long each took."""

    started: float = field(default_factory=time.perf_counter)
    number: int = 0

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print the title, then, when the block is done, its seconds."""
        self.number += 1
        print(f"\n{self.number}. {title}", flush=True)
        began = time.perf_counter()
        yield
        say(f"{time.perf_counter() - began:.1f} s")

    def total(self) -> float:
        """Seconds since the first step."""
        return time.perf_counter() - self.started


def say(text: str) -> None:
    """Print lines under the current step."""
    for line in text.splitlines():
        print(f"   {line}".rstrip(), flush=True)


def progress(total: int, what: str) -> "tqdm[None]":
    """A bar that is gone when it is done; none at all where nobody watches (a file, CI)."""
    shape = "   {desc:<31}{bar:30} {n}/{total}"
    return tqdm(total=total, desc=what, bar_format=shape, leave=False, disable=None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what Feast prints and warns about from the screen; errors still raise."""
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
