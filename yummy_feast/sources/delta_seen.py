"""What is new in a Delta table since an earlier version: data files are compared by the log, none of them is opened.

A file that OPTIMIZE, MERGE or an overwrite wrote is new, whatever rows it holds. Deleted rows make no file new; rows
that came back (RESTORE takes deletion vectors away again) do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from yummy_feast.errors import UnsupportedTableError
from yummy_feast.sources.delta_log import DeltaFile, kept_rows, locations_of_table
from yummy_feast.sources.files import Location
from yummy_feast.sources.seen import paths_digest, state_facts, state_text

if TYPE_CHECKING:
    from deltalake import DeltaTable


def delta_state(table: DeltaTable, files: Sequence[DeltaFile]) -> str:
    """The state of a scan of this version. The digest tells it from a copy of the table that went its own way."""
    digest = paths_digest(item.file.text for item in files)
    return state_text({"delta": str(table.metadata().id), "version": table.version(), "files": digest})


def seen_in_delta(
    state: str,
    table: DeltaTable,
    files: Sequence[DeltaFile],
    place: Location,
    at_version: Callable[[int], DeltaTable],
) -> frozenset[str]:
    """Of ``files``, those (as text) that were part of the table in ``state`` with all rows they have now.

    at_version: loads a version of the table. None are seen if the state is of another table or of a later version, or
    if its version cannot be loaded because the log no longer has it.
    """
    import deltalake.exceptions

    facts = state_facts(state)
    version = facts.get("version")
    if facts.get("delta") != str(table.metadata().id) or type(version) is not int:
        return frozenset()
    if not 0 <= version <= table.version():
        # deltalake would count up to it.
        return frozenset()
    if state == delta_state(table, files):
        return frozenset(item.file.text for item in files)
    try:
        then = at_version(version)
        places = locations_of_table(then, place)
        if facts.get("files") != paths_digest(found.text for found in places):
            return frozenset()
        gone = kept_rows(then, places)
    except (deltalake.exceptions.DeltaError, UnsupportedTableError, OSError):
        return frozenset()
    known = {found.text for found in places}
    return frozenset(item.file.text for item in files if item.file.text in known and not _rows_came_back(item, gone))


def _rows_came_back(item: DeltaFile, gone: Mapping[str, npt.NDArray[np.bool_]]) -> bool:
    before = gone.get(item.file.text)
    if before is None:
        return False
    now = np.ones(len(before), bool)
    if item.keep is not None:
        now[: len(item.keep)] = item.keep[: len(before)]
    return bool((now & ~before).any())
