"""Commits to Iceberg tables beside other writers: every row there exactly once, or an error that says so.

pyiceberg tries a commit again that another one has overtaken, as often as the table's ``commit.retry.*`` properties
say. What is left to do here: go on for longer, and find out what became of a commit whose answer was lost.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa

from yummy_feast.errors import ConfigError, SourceReadError, first_line
from yummy_feast.sources.iceberg_clients import answer_of_amazon, client_errors

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

MARK = "yummy-feast.append"
"""Property of a snapshot that says which append it is of."""
_TRIES = 8
_LOOKS = 4
"""How often to look for a commit whose answer was lost, before saying that nobody knows."""
_DEAF_LOOKS = 8
"""How many of them the catalog may leave without an answer, as one that starts again does: some ten seconds."""


def create_table(catalog: Catalog, name: str, schema: pa.Schema) -> None:
    """A table without rows and its namespace, unless another writer was faster."""
    from pyiceberg.exceptions import TableAlreadyExistsError

    namespace = name.rsplit(".", 1)[0]
    for attempt in range(_TRIES):
        try:
            _create_namespace(catalog, namespace)
            catalog.create_table_if_not_exists(name, schema=schema)
        except TableAlreadyExistsError:
            return
        except client_errors():
            # Two at once, in a database that calls this a broken constraint or a lock.
            if attempt == _TRIES - 1:
                raise
            _wait(attempt)
        else:
            return


def _create_namespace(catalog: Catalog, namespace: str) -> None:
    try:
        catalog.create_namespace_if_not_exists(namespace)
    except ValueError as error:
        if isinstance(error, client_errors()):
            raise
        raise ConfigError(f"namespace '{namespace}': {first_line(error)}", hint="catalog.namespace.table") from error


def append_rows(catalog: Catalog, name: str, fitting: Callable[[Table], pa.Table], branch: str | None = None) -> None:
    """Add rows in one commit, to ``branch`` if one is named.

    fitting: the rows for the table as it is now, whose columns another writer may have changed.
    SourceReadError if nobody can say whether the commit was made; pyiceberg's CommitFailedException if it was not,
    after all tries.
    """
    from pyiceberg.exceptions import (
        CommitFailedException,
        CommitStateUnknownException,
        ServerError,
        ServiceUnavailableError,
    )
    from pyiceberg.table.refs import MAIN_BRANCH

    mark = uuid.uuid4().hex
    # Some proxies say 503 where they have handed on the request and lost the connection.
    gateway: tuple[type[Exception], ...] = (CommitStateUnknownException, ServerError, ServiceUnavailableError)
    unsure = (*gateway, *client_errors())
    for attempt in range(_TRIES):
        stored = catalog.load_table(name)
        rows = fitting(stored)
        try:
            stored.append(rows, snapshot_properties={MARK: mark}, branch=branch or MAIN_BRANCH)
        except CommitFailedException:
            if attempt == _TRIES - 1:
                raise
        except unsure as error:
            landed = _landed(catalog, name, mark)
            if landed:
                return
            if landed is None or not _was_refused(error):
                raise SourceReadError(
                    f"{name}: nobody knows whether the rows were added: {first_line(error)}",
                    hint=f"look for a snapshot with {MARK} = {mark} before you add them again",
                ) from error
            if attempt == _TRIES - 1 or not _may_pass(error):
                raise
        else:
            return
        _wait(attempt)


def _landed(catalog: Catalog, name: str, mark: str) -> bool | None:
    """Whether the commit was made; None if the catalog does not answer any more."""
    from pyiceberg.exceptions import RESTError

    silence: tuple[type[Exception], ...] = (RESTError, OSError, *client_errors())
    looks = deaf = 0
    while looks < _LOOKS and deaf < _DEAF_LOOKS:
        try:
            snapshots = catalog.load_table(name).metadata.snapshots
        except silence:
            deaf += 1
            _wait(deaf)
            continue
        if any(item.summary is not None and item.summary.get(MARK) == mark for item in snapshots):
            return True
        looks += 1
        if looks < _LOOKS:
            _wait(looks - 1)
    return False if looks else None


def _was_refused(error: Exception) -> bool:
    """Whether the catalog itself said no. A database rolls back what it does not answer for."""
    of_amazon = answer_of_amazon(error)
    if of_amazon is not None:
        # A server that fails may have done it before.
        return int(of_amazon.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)) < 500
    return type(error).__module__.startswith("hive_metastore.") or _may_pass(error)


def _may_pass(error: Exception) -> bool:
    """Whether it is a database's error: a lock that others hold, a connection that broke."""
    return type(error).__module__.startswith("sqlalchemy.")


def _wait(attempt: int) -> None:
    time.sleep(random.uniform(0, 0.05 * 2**attempt))  # noqa: S311 - spreads writers, guards nothing
