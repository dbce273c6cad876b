"""Which process of several runs which tests: all of Spark in one, which has the one session, the others by their file.

xdist's own groups are no way to say so: xdist 3.8 writes a test's group into what pytest 9.2 no longer reads.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadFileScheduling

WORD = "spark"
"""In the id of every test that uses the session: ids are all that the scheduling process knows."""


class OneSpark(LoadFileScheduling):
    """``--dist loadfile``, and all that says ``spark`` counts as one file."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = WORD if WORD in nodeid else super()._split_scope(nodeid)
        return scope


def check_name(item: pytest.Item) -> None:
    """A test that uses Spark must say so in its id.

    Raises:
        pytest.UsageError: it does not.
    """
    if WORD not in item.nodeid:
        raise pytest.UsageError(f"{item.nodeid} uses Spark: put '{WORD}' into the name of its file, itself or its case")
