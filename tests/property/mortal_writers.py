"""A process whose children write rows to a repository's embedded server until somebody kills them.

Each row of a round has the round as its event time and its value, so that what is there tells which round wrote it. A
child says on stdout how many rows of which round Redis has acknowledged, the moment that it hears of it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.property.rival_writers import ROOT, VIEW, arrow_of, encoder, push, target_of
from yummy_feast.online.redis import RedisSettings, connect
from yummy_feast.online.writer import write_batches

# Two round trips to a round.
KEYS = 2_500
PROJECT = "prod"
NAMES = encoder(PROJECT).encode_columns({"id": list(range(KEYS))})
__all__ = ["KEYS", "NAMES", "PROJECT", "VIEW", "Writers", "settings_of"]


def settings_of(folder: Path) -> RedisSettings:
    return RedisSettings.parse("embedded", repo_path=folder)


class Writers:
    """One child at a time, from the outside. It starts within milliseconds: it is forked, not imported."""

    def __init__(self, folder: Path) -> None:
        code = "import sys; from tests.property.mortal_writers import main; main(sys.argv[1])"
        command = [sys.executable, "-c", code, str(folder)]
        self._host = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._acknowledged = [-1] * KEYS
        self.rows = 0
        """Acknowledged in all."""
        self.ends: list[str] = []
        """How children ended that nobody killed."""
        self._pid = 0
        self._changed = threading.Condition()
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        assert self._host.stdout is not None
        for line in self._host.stdout:
            kind, *numbers = line.split()
            with self._changed:
                if kind == "writer":
                    self._pid = int(numbers[0])
                elif kind == "end":
                    self._pid = 0
                    if numbers[0] != "-9":
                        self.ends.append(line)
                else:
                    # In order, so what is new of a round is what the round before still holds.
                    round_, done = map(int, numbers)
                    for key in range(done):
                        self.rows += self._acknowledged[key] != round_
                        self._acknowledged[key] = round_
                self._changed.notify_all()

    def acknowledged(self) -> list[int]:
        """Per key the last round of which Redis has acknowledged its row, -1 for none."""
        with self._changed:
            return list(self._acknowledged)

    def start(self) -> None:
        """A new child, which goes on behind what the last one may have tried."""
        assert self._host.stdin is not None
        self._host.stdin.write(f"{max(self._acknowledged) + 3}\n")
        self._host.stdin.flush()
        self._wait(lambda: self._pid > 0)

    def kill(self) -> None:
        os.kill(self._pid, 9)
        self._wait(lambda: self._pid == 0)

    def wait_for_more(self) -> None:
        """Until a row is acknowledged that is not yet."""
        known = self.rows
        self._wait(lambda: self.rows > known)

    def _wait(self, true: Any) -> None:
        with self._changed:
            assert self._changed.wait_for(true, 60), self.ends

    def close(self) -> None:
        if self._pid:
            self.kill()
        assert self._host.stdin is not None
        self._host.stdin.close()
        self._listener.join()
        assert self._host.wait(60) == 0
        assert self._host.stdout is not None
        self._host.stdout.close()


# ------------------------------------------------------------------------------------------------- its inside


def main(folder: str) -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            write_until_killed(Path(folder), int(line))
        say(f"writer {child}")
        _, status = os.waitpid(child, 0)
        say(f"end {os.waitstatus_to_exitcode(status)}")


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def write_until_killed(folder: Path, first: int) -> None:
    with connect(settings_of(folder)) as client:
        target = target_of(client, PROJECT, True, 0)
        for number in itertools.count(first):
            # Now and then a push: the first row alone, ahead of its fellows.
            done = 1 if number % 3 == 0 else 0
            if done:
                push(client, PROJECT, [(0, number, None, number)])
                say(f"ack {number} 1")

            def acknowledge(rows: int, number: int = number) -> None:
                nonlocal done
                done += rows
                say(f"ack {number} {done}")

            rows = [(key, number, None, number) for key in range(done, KEYS)]
            write_batches(client, target, encoder(PROJECT), [arrow_of(rows)], "event", "created", acknowledge)
