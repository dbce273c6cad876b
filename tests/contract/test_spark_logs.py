"""What Spark and its Python say while they read lakes on S3, at the levels of people who look for a mistake: no
credential.

Slow: a session of its own, in a process whose whole output is looked at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.format_cases import CASES, CsvFolder, IcebergTable, rows
from tests.contract.lake_kit import ids_of
from tests.s3_server import SECRET, S3Server
from tests.spark_session import ROOT, spark_jars
from tests.unit.sources.handmade import commit_deletes

pytestmark = [pytest.mark.slow, pytest.mark.spark]

LOG4J = """
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
logger.org.name = org.apache
logger.org.level = info
logger.delta.name = io.delta
logger.delta.level = debug
logger.amazon.name = software.amazon
logger.amazon.level = debug
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = java %p %c: %m%n%ex
"""
SCRIPT = """
import json, logging, sys
from pathlib import Path
from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from yummy_feast.sources.base import SourceContext
from yummy_feast.spark.frames import frame_of
from yummy_feast.spark.session import session
from yummy_feast.spark.settings import SparkSettings

logging.basicConfig(level=logging.DEBUG)
asked = json.load(sys.stdin)
settings = SparkSettings(
    conf=asked["conf"], jars=Path(asked["jars"]), threads=1, memory_limit=1 << 30,
    storage_options=asked["options"], catalogs=asked["catalogs"],
)
spark = session(settings)
for entry, folder in asked["sources"]:
    source = DataSource.from_proto(DataSourceProto.FromString(bytes.fromhex(entry)))
    scan = source.scan(SourceContext(Path(folder), asked["options"], asked["catalogs"]))
    found = frame_of(spark, scan, ["id"])
    print("read", scan.format, found.native, found.frame.count(), repr(scan), repr(found), repr(settings))
logging.getLogger("here").debug("all is read")
spark.stop()
"""


def test_no_credential_is_logged(tmp_path: Path, s3_server: S3Server) -> None:
    sources, catalogs = [], {}
    for kind in CASES:
        (folder := tmp_path / kind.name).mkdir()
        case = kind(folder, s3_server)
        case.lay([rows(1, 2)])
        if isinstance(case, IcebergTable):
            with case.catalog() as catalog:
                commit_deletes(catalog.load_table("lake.rows"), ids_of(2), equality_ids=[2])
            catalogs = {"local": {**case.keys, "uri": f"sqlite:///{folder}/catalog.db"}}
        sources.append((case.source().to_proto().SerializeToString().hex(), str(folder)))
    (tmp_path / "log4j2.properties").write_text(LOG4J)
    conf = {
        "spark.log.level": "INFO",
        "spark.sql.shuffle.partitions": "2",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={tmp_path}/log4j2.properties",
    }
    asked = {
        "conf": conf,
        "options": s3_server.options,
        "catalogs": catalogs,
        "sources": sources,
        "jars": str(spark_jars()),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(asked).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-3000:]
    reads = [line.split()[1:4] for line in said.splitlines() if line.startswith("read ")]
    assert [count for *_, count in reads] == ["2", "2", "2", "2", "1"]
    assert [native for _, native, _ in reads] == [str(kind is not CsvFolder) for kind in CASES]
    # It did speak, Java's side and Python's.
    assert "java INFO org.apache.spark." in said
    assert "DEBUG:here:all is read" in said
    assert SECRET not in said
    # What goes to Java goes without a word: pieces have credentials in a form that nobody would look for.
    assert "Command to send" not in said
