"""Frames that are computed once, and frames that go from one session to another."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from yummy_feast.spark.telling import is_remote

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def computed(frame: DataFrame) -> DataFrame:
    """The same rows, computed now and never again, whoever derives what from them.

    Not a cache, which is looked up when a plan runs: rows would come from another run of the query where somebody has
    dropped it. A checkpoint is part of the plan and lives as long as any frame that was made of it; if an executor that
    held some of it is lost, jobs fail. Where a checkpoint directory is set, rows are kept there and outlive executors.
    """
    # A plan of our own: a DataFrame that has run is no longer read from a cache that its user makes afterwards.
    own = frame.select("*")
    return own.checkpoint() if _has_directory(frame.sparkSession) else own.localCheckpoint()


@contextmanager
def seen_by(session: SparkSession, frame: DataFrame) -> Iterator[DataFrame]:
    """A frame of another session (of one Spark) as one of ``session``. What is analysed inside may be used later."""
    name = f"yummy_{uuid.uuid4().hex}"
    frame.createGlobalTempView(name)
    try:
        database = session.conf.get("spark.sql.globalTempDatabase", "global_temp")
        yield session.table(f"{database}.{name}")
    finally:
        session.catalog.dropGlobalTempView(name)


@contextmanager
def active_kept() -> Iterator[None]:
    """Afterwards the active session is the one it was: what makes a frame of rows makes its own session that."""
    from pyspark.sql import SparkSession

    before: Any = SparkSession.getActiveSession()
    try:
        yield
    finally:
        if before is not None and not is_remote(before) and SparkSession.getActiveSession() is not before:
            classes: Any = SparkSession
            classes._activeSession = before
            classes._get_j_spark_session_class(before._jvm).setActiveSession(before._jsparkSession)


def _has_directory(session: Any) -> bool:
    if is_remote(session):
        return session.conf.get("spark.checkpoint.dir", None) is not None
    return session.sparkContext.getCheckpointDir() is not None
