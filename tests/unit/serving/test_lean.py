"""Feast without the checks that it compiles into itself: as it is, but sooner there."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.unit.online.servers import ROOT

CODE = """
import sys
if sys.argv[1] == "lean":
    from yummy_feast.serving.lean import unchecked_feast
    with unchecked_feast():
        import feast
else:
    import feast
import os, typeguard
from feast import Entity
try:
    Entity(name='x', tags=1)
    refused = False
except typeguard.TypeCheckError:
    refused = True
except (TypeError, AttributeError):
    refused = False

later = typeguard.typechecked.__module__.startswith("typeguard")
print(refused, later, sum(os.times()[:2]))
"""


def run(how: str) -> tuple[bool, bool, float]:
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, how],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return out[0] == "True", out[1] == "True", float(out[2])


def test_feast_is_unchecked_and_nothing_else_is() -> None:
    refused, later, lean = run("lean")
    assert (refused, later) == (False, True)
    refused, later, full = run("full")
    assert (refused, later) == (True, True)
    # Of processor time: a third, where this was written.
    assert lean < 0.7 * full


def test_feast_that_is_there_stays_as_it_is() -> None:
    import typeguard
    from feast import Entity

    from yummy_feast.serving.lean import unchecked_feast

    before = typeguard.typechecked
    with unchecked_feast():
        assert typeguard.typechecked is before
    assert Entity
