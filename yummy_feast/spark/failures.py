"""Errors on their way through Spark: ours from the executors come out as they are, Spark's own become one line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from yummy_feast import errors
from yummy_feast.errors import MissingExtraError, RetrievalError, SourceReadError, YummyError
from yummy_feast.spark.jars import fetch_command

_MARK = "yummy_feast error: "
_TOLD = re.compile(re.escape(_MARK) + r"(\{.*\})")
_NO_CLASS = re.compile(
    r"(?:ClassNotFoundException|NoClassDefFoundError): (?:Class )?(?P<name>[\w.$/]+)"
    r"|Cannot find catalog plugin class for catalog '\w+': (?P<catalog>[\w.$]+)"
    r"|No FileSystem for scheme \"?(?P<scheme>\w+)"
)
_NEEDS = {
    "org.apache.hadoop.fs.s3a.": "s3",
    "software.amazon.awssdk.services.s3.": "s3",
    "s3": "s3",
    "org.apache.hadoop.fs.azurebfs.": "azure",
    "abfs": "azure",
    "com.google.cloud.hadoop.": "gcs",
    "gs": "gcs",
    "software.amazon.awssdk.services.glue.": "glue",
    "software.amazon.awssdk.services.dynamodb.": "glue",
    "software.amazon.awssdk.http.": "glue",
    "org.apache.iceberg.": "iceberg",
    "iceberg.": "iceberg",
    "io.delta.": "delta",
    "org.apache.spark.sql.delta.": "delta",
    "delta.": "delta",
}
"""How a missing class or scheme begins, and which of ``pins.PACKAGES`` has it."""
_SILENCE = re.compile(r"ConnectException|ConnectTimeoutException|UnknownHost|SocketTimeout|Failed to connect to Hive")
"""Of catalogs and stores that the driver asks; a task that fails may have lost another executor."""
_NO_PACKAGE = re.compile(r"No module named '(yummy_feast|feast|pyarrow|numpy)")


def told(error: YummyError) -> RuntimeError:
    """An error of ours as one whose text survives the way to the driver."""
    return RuntimeError(
        _MARK + json.dumps({"kind": type(error).__name__, "message": error.message, "hint": error.hint})
    )


@contextmanager
def spark_errors(what: str) -> Iterator[None]:
    """Turn what Spark raises into an error of ours in one line. what: "feature view 'x'", "SQL", for people.

    Raises:
        YummyError: as a piece raised it on an executor. SourceReadError: a file could not be read, or a server not be
            reached.
        MissingExtraError: executors lack this package, or Spark a jar. RetrievalError: anything else of Spark's.
    """
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
    except ImportError as error:
        raise MissingExtraError.of("spark", "engine: spark") from error
    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise translated(error, what) from error


def translated(error: Exception, what: str) -> YummyError:
    """The error of ours that stands for one of Spark's."""
    text = str(error)
    found = _TOLD.search(text)
    if found is not None:
        said = json.loads(found.group(1))
        kind = getattr(errors, said["kind"], RetrievalError)
        is_ours = isinstance(kind, type) and issubclass(kind, YummyError)
        return kind(said["message"], hint=said["hint"]) if is_ours else RetrievalError(text)
    missing = _NO_PACKAGE.search(text)
    if missing is not None:
        return MissingExtraError(
            f"{what}: the executors of Spark have no package '{missing.group(1)}', which reads this source",
            hint="pip install 'yummy-feast[spark]' on every executor, or ship it with spark.submit.pyFiles",
        )
    need = _missing_need(text)
    if need:
        return MissingExtraError(
            f"{what}: this Spark has no jars for {need}: {summary(text)}",
            hint=f"`{fetch_command('DIR', [need])}` and spark_jars: DIR; a session of others needs them at its start",
        )
    if _SILENCE.search(text) and "Job aborted" not in text:
        hint = "is the address right, and does it run there? see catalogs and storage_options"
        return SourceReadError(f"{what}: no answer: {summary(text)}", hint=hint)
    if "FAILED_READ_FILE" in text or "is not a Parquet file" in text:
        return SourceReadError(f"{what}: {summary(text)}", hint="is the file whole, and still there?")
    return RetrievalError(f"{what}: Spark failed: {summary(text)}", hint="the cause has Spark's own report")


def _missing_need(text: str) -> str:
    """Which jars are missing; empty: no class is, or one that we know nothing of."""
    found = _NO_CLASS.search(text)
    name = next((name for name in found.groups() if name), "").replace("/", ".") if found else ""
    return next((need for start, need in _NEEDS.items() if name.startswith(start)), "")


def summary(text: str) -> str:
    """Spark's report in one line: what it says happened, without the stack."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    classes = [line for line in lines if re.search(r"\[[A-Z_.]{6,}\]", line)]
    best = (classes or causes or lines or ["no reason given"])[0]
    best = re.sub(r"\s+", " ", best)
    return best if len(best) <= 400 else best[:397] + "..."
