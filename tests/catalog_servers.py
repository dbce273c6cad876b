"""Iceberg catalogs behind servers of their own, as a user configures them: REST, Glue and Hive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.hive_metastore import HiveMetastore
from tests.rest_catalog import TOKEN, rest_catalog
from tests.s3_server import GLUE_KEY, SECRET, S3Server
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.iceberg import IcebergSource

GLUE_SECRET = "glue-hush-do-not-log-me"
SECRETS = (SECRET, GLUE_SECRET, TOKEN)


@dataclass
class Lake:
    """A catalog called ``prod``, and a namespace of this test alone in it."""

    folder: Path
    keys: dict[str, str]
    options: dict[str, str] = field(default_factory=dict)

    @property
    def context(self) -> SourceContext:
        return SourceContext(self.folder, self.options, {"prod": self.keys})

    @property
    def namespace(self) -> str:
        """Lower case, as Hive and Glue have it."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.folder.name.lower())

    @property
    def name(self) -> str:
        """Of a table, by which both engines know it."""
        return f"prod.{self.namespace}.rows"

    def source(self, **keywords: Any) -> IcebergSource:
        return IcebergSource(table=self.name, **{"timestamp_field": "ts", **keywords})

    @contextmanager
    def stored(self) -> Iterator[Any]:
        """The table by pyiceberg alone."""
        from pyiceberg.catalog import load_catalog

        keys = {**self.keys, **({"s3.endpoint": self.options["endpoint"]} if self.options else {})}
        with load_catalog("prod", **keys) as catalog:
            yield catalog.load_table((self.namespace, "rows"))


def _rest(folder: Path, _: pytest.FixtureRequest) -> Iterator[Lake]:
    with rest_catalog(folder, f"file://{folder}/warehouse") as served:
        yield Lake(folder, served.keys)


def _glue(folder: Path, request: pytest.FixtureRequest) -> Iterator[Lake]:
    server: S3Server = request.getfixturevalue("s3_server")
    keys = {"type": "glue", "glue.endpoint": server.endpoint, "warehouse": f"s3://{server.bucket()}/warehouse"}
    yield Lake(folder, keys, dict(server.options))


def _glue_with_keys(folder: Path, request: pytest.FixtureRequest) -> Iterator[Lake]:
    for lake in _glue(folder, request):
        lake.keys |= {"glue.access-key-id": GLUE_KEY, "glue.secret-access-key": GLUE_SECRET, "glue.region": "us-east-1"}
        yield lake


def _hive(folder: Path, request: pytest.FixtureRequest) -> Iterator[Lake]:
    server: HiveMetastore = request.getfixturevalue("hive_metastore")
    yield Lake(folder, server.keys(warehouse="data/warehouse"))


KINDS = {"rest": _rest, "glue": _glue, "glue-with-keys": _glue_with_keys, "hive": _hive}


@contextmanager
def served(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[Lake]:
    """A catalog of that kind, with its repo in ``folder``."""
    yield from KINDS[kind](folder, request)


def check_jars(session: Any, kind: str) -> None:
    """Skip what needs jars that the Spark of the tests lacks; in CI that is a failure."""
    name = "software.amazon.awssdk.services.glue.GlueClient"
    if kind.startswith("glue") and not session._jvm.org.apache.spark.util.Utils.classIsLoadable(name):
        why = "the jars of the tests lack those of Glue: yummy spark jars DIR --with glue"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
