"""A Hive metastore for tests: the one whose classes pyspark ships, in a JVM of its own, with its database in memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from tests.spark_session import skipped_without_spark
from tests.unit.online.servers import free_port, wait_for_port
from yummy_feast.errors import MissingExtraError
from yummy_feast.spark.java import find_java

_NAME = "the Hive metastore of the tests"
_JVM = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    # Hive 2.3 is older than Java's modules.
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
)


@dataclass(frozen=True)
class HiveMetastore:
    """Where it listens, and the folder where it puts what nobody names a place for."""

    uri: str
    warehouse: Path

    def keys(self, **more: str) -> dict[str, str]:
        """What to put under ``catalogs``."""
        return {"type": "hive", "uri": self.uri, **more}


@contextmanager
def hive_server(folder: Path) -> Iterator[HiveMetastore]:
    """A metastore of its own on a free port; its settings, warehouse and log lie in ``folder``.

    Raises:
        MissingExtraError: no pyspark, or no Java.
    """
    warehouse = folder / "warehouse"
    warehouse.mkdir(parents=True)
    _write_settings(folder / "hive-site.xml", _settings(folder, warehouse))
    (folder / "log4j2.properties").write_text(_LOG.format(folder=folder), encoding="utf-8")
    port = free_port()
    with _gateway(folder) as gateway:
        jvm = gateway.jvm
        conf = jvm.org.apache.hadoop.hive.conf.HiveConf()
        # What a script of Hive's makes elsewhere: the tables of its locks.
        jvm.org.apache.hadoop.hive.metastore.txn.TxnDbUtil.prepDb(conf)
        _begin(gateway, "org.apache.hadoop.hive.metastore.HiveMetaStore", "startMetaStore", port, None, conf)
        try:
            wait_for_port(port, 60)
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {_said(folder)}") from error
        yield HiveMetastore(f"thrift://127.0.0.1:{port}", warehouse)


def _begin(gateway: Any, kind: str, method: str, *values: Any) -> None:
    """Call a static method that does not come back, on a thread of the JVM."""
    lang = gateway.jvm.java.lang
    named = [found for found in lang.Class.forName(kind).getMethods() if found.getName() == method]
    handle = lang.invoke.MethodHandles.publicLookup().unreflect(
        next(found for found in named if found.getParameterCount() == len(values))
    )
    given = gateway.new_array(lang.Object, len(values))
    for number, value in enumerate(values):
        given[number] = value
    task = lang.invoke.MethodHandles.insertArguments(handle, 0, given)
    runnable = lang.invoke.MethodHandleProxies.asInterfaceInstance(lang.Class.forName("java.lang.Runnable"), task)
    lang.Thread(runnable).start()


@contextmanager
def _gateway(folder: Path) -> Iterator[Any]:
    """A JVM with pyspark's classes that does what it is told, and ends with its block or with this process."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise MissingExtraError.of("spark", _NAME)
    from py4j.java_gateway import GatewayParameters, JavaGateway

    java = find_java(_NAME).program
    classes = os.pathsep.join([str(folder), f"{Path(spec.origin).parent / 'jars'}/*"])
    options = [*_JVM, f"-Dderby.stream.error.file={folder / 'derby.log'}", "-cp", classes]
    command = [str(java), *options, "py4j.GatewayServer", "--die-on-broken-pipe", "0"]
    with (folder / "jvm.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder)
    assert process.stdin is not None
    assert process.stdout is not None
    gateway = None
    try:
        line = process.stdout.readline().strip()
        if not line.isdigit():
            raise RuntimeError(f"{_NAME}: its JVM does not start: {line.decode(errors='replace')} {_said(folder)}")
        gateway = JavaGateway(gateway_parameters=GatewayParameters(port=int(line)))
        yield gateway
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        if gateway is not None:
            gateway.close()


def _said(folder: Path) -> str:
    """What the JVM and the metastore wrote last."""
    logs = [folder / name for name in ("jvm.log", "metastore.log")]
    return "\n".join(log.read_text(encoding="utf-8", errors="replace")[-2000:] for log in logs if log.exists())


_LOG = """
appender.file.type = File
appender.file.name = file
appender.file.fileName = {folder}/metastore.log
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %c: %m%n
rootLogger.level = error
rootLogger.appenderRef.file.ref = file
"""


def _settings(folder: Path, warehouse: Path) -> dict[str, str]:
    return {
        "javax.jdo.option.ConnectionURL": "jdbc:derby:memory:metastore;create=true",
        "javax.jdo.option.ConnectionDriverName": "org.apache.derby.jdbc.EmbeddedDriver",
        "datanucleus.schema.autoCreateAll": "true",
        "datanucleus.connectionPoolingType": "DBCP",
        "hive.metastore.schema.verification": "false",
        "hive.metastore.warehouse.dir": f"file://{warehouse}",
        "hive.metastore.server.min.threads": "4",
        "hive.exec.scratchdir": f"{folder}/scratch",
    }


def _write_settings(path: Path, settings: Mapping[str, str]) -> None:
    told = "".join(
        f"<property><name>{escape(name)}</name><value>{escape(value)}</value></property>"
        for name, value in settings.items()
    )
    path.write_text(f'<?xml version="1.0"?><configuration>{told}</configuration>', encoding="utf-8")


@pytest.fixture(scope="session")
def hive_metastore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HiveMetastore]:
    """One metastore for all that ask; they keep apart by their namespaces."""
    with ExitStack() as stack:
        with skipped_without_spark():
            found = stack.enter_context(hive_server(tmp_path_factory.mktemp("hive")))
        yield found
