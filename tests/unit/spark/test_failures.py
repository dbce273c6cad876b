"""What Spark reports becomes one line, and what our own code said on an executor comes out as it was."""

from __future__ import annotations

import traceback

import pytest

from yummy_feast.errors import MissingExtraError, RetrievalError, SourceReadError, YummyError
from yummy_feast.spark.failures import summary, told, translated


def on_an_executor(error: Exception) -> str:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001 - its traceback is the point
        lines = traceback.format_exception(caught)
    return "An exception was thrown from the Python worker. Please see the stack trace below.\n" + "".join(lines)


def test_our_own_error_comes_out_as_it_is() -> None:
    error = SourceReadError('data/"x".parquet\ncannot be read', hint="is the file {whole}?")
    found = translated(RuntimeError(on_an_executor(told(error))), "feature view 'x'")
    assert type(found) is SourceReadError
    assert str(found) == str(error)


def test_text_that_looks_like_ours_makes_no_other_class() -> None:
    text = 'yummy_feast error: {"kind": "nearest", "message": "m", "hint": "h"}'
    assert type(translated(RuntimeError(text), "x")) is RetrievalError


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("ModuleNotFoundError: No module named 'yummy_feast'\n", MissingExtraError, "no package 'yummy_feast'"),
        (
            "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file file:///a.parquet.\n at x",
            SourceReadError,
            "file:///a.parquet",
        ),
        ("Job aborted\nCaused by: java.lang.OutOfMemoryError: heap\n\tat x", RetrievalError, "OutOfMemoryError: heap"),
        ("", RetrievalError, "no reason given"),
    ],
)
def test_spark_says_what_happened_in_one_line(text: str, kind: type[YummyError], said: str) -> None:
    found = translated(RuntimeError(text), "feature view 'speeds' of data/x")
    assert type(found) is kind
    assert "feature view 'speeds' of data/x: " in str(found)
    assert said in str(found)
    assert "\n" not in str(found)


@pytest.mark.parametrize(
    ("text", "need", "fix"),
    [
        (
            "java.lang.ClassNotFoundException: Class org.apache.hadoop.fs.s3a.S3AFileSystem not found",
            "s3",
            "yummy spark jars DIR` ",
        ),
        ('org.apache.hadoop.fs.UnsupportedFileSystemException: No FileSystem for scheme "s3"', "s3", "jars DIR` "),
        (
            "java.lang.NoClassDefFoundError: software/amazon/awssdk/services/glue/GlueClient\n at x",
            "glue",
            "yummy spark jars DIR --with glue` ",
        ),
        (
            "java.lang.NoClassDefFoundError: software/amazon/awssdk/http/apache5/Apache5HttpClient$Builder\n at x",
            "glue",
            "yummy spark jars DIR --with glue` ",
        ),
        (
            "Cannot find catalog plugin class for catalog 'lake': org.apache.iceberg.spark.SparkCatalog.",
            "iceberg",
            "jars DIR` ",
        ),
        (
            "Failed to find it\njava.lang.ClassNotFoundException: delta.DefaultSource",
            "delta",
            "jars DIR` ",
        ),
    ],
)
def test_jars_that_are_missing_are_named_with_the_fix(text: str, need: str, fix: str) -> None:
    found = translated(RuntimeError(text), "feature view 'speeds'")
    assert type(found) is MissingExtraError
    assert f"feature view 'speeds': this Spark has no jars for {need}: " in str(found)
    assert fix in str(found)
    assert type(translated(RuntimeError("java.lang.ClassNotFoundException: com.me.Mine"), "x")) is RetrievalError


def test_a_summary_is_short() -> None:
    assert len(summary("x" * 5000)) == 400


def test_a_server_that_spark_does_not_reach() -> None:
    text = ": RuntimeMetaException: Failed to connect to Hive Metastore\nCaused by: MetaException(no)"
    assert type(translated(RuntimeError(f"Job aborted\n{text}"), "x")) is RetrievalError
    found = translated(RuntimeError(text), "the SQL over catalog 'prod' (uri 'thrift://meta:1')")
    assert type(found) is SourceReadError
    assert str(found) == (
        "the SQL over catalog 'prod' (uri 'thrift://meta:1'): no answer: MetaException(no) "
        "(is the address right, and does it run there? see catalogs and storage_options)"
    )
