"""The client of a Hive metastore: pyiceberg's, with an end to its patience and with all of the servers that are named.

Imported where such a catalog is opened: it needs the extra ``hive``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from pyiceberg.catalog import LOCATION, WAREHOUSE_LOCATION
from pyiceberg.catalog.hive import (
    HIVE2_COMPATIBLE,
    HIVE_KERBEROS_AUTH,
    HIVE_KERBEROS_AUTH_DEFAULT,
    HIVE_KERBEROS_SERVICE_NAME,
    HIVE_KERBEROS_SERVICE_NAME_DEFAULT,
    HiveCatalog,
    _HiveClient,
)
from pyiceberg.table import Table
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from pyiceberg.utils.properties import property_as_bool
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TSaslClientTransport, TTransportException

from yummy_feast.errors import ConfigError
from yummy_feast.sources.iceberg_clients import ZONED

_log = logging.getLogger("thrift.transport.TSocket")
if _log.level == logging.NOTSET:
    # It logs what it raises as well, with a traceback.
    _log.setLevel(logging.CRITICAL)
_CONNECT_MS = 5_000
_ANSWER_MS = 60_000
_USUAL = {
    # By itself pyiceberg looks again after 2, 4 and 8 seconds.
    "lock-check-max-wait-time": "0.5",
    "lock-check-retries": "40",
}
_SERVER = re.compile(r"thrift://(?:\[(?P<ip>[^\]]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>\d{1,5})/?")


class Metastore(HiveCatalog):
    """A catalog in a Hive metastore. Of the servers in ``uri`` the first that can be reached is asked.

    Where ``hive.hive2-compatible`` is left out, tables that are made have the columns' types of Hive 2, as Spark's
    client names them; others keep what they have.

    Raises:
        ConfigError: ``uri`` names something else than servers.
    """

    def __init__(self, name: str, **properties: str) -> None:
        servers_of(properties.get("uri", ""), f"catalog '{name}'")
        super().__init__(name, **{**_USUAL, **properties})
        self._keeps_types = HIVE2_COMPATIBLE not in properties

    @staticmethod
    def _create_hive_client(properties: dict[str, str]) -> _HiveClient:
        return _Client(
            properties.get("uri", ""),
            properties.get("ugi"),
            property_as_bool(properties, HIVE_KERBEROS_AUTH, HIVE_KERBEROS_AUTH_DEFAULT),
            properties.get(HIVE_KERBEROS_SERVICE_NAME, HIVE_KERBEROS_SERVICE_NAME_DEFAULT),
        )

    def create_namespace(self, namespace: str | Identifier, properties: Properties = EMPTY_DICT) -> None:
        """See pyiceberg. It lies in ``warehouse`` where there is one, as it does where Spark makes it: the metastore
        itself would put it below its own folder.
        """
        warehouse = self.properties.get(WAREHOUSE_LOCATION, "").rstrip("/")
        if warehouse and LOCATION not in properties:
            properties = {**properties, LOCATION: f"{warehouse}/{self.identifier_to_database(namespace)}.db"}
        super().create_namespace(namespace, properties)

    def _get_hive_table(self, open_client: Any, database_name: str, table_name: str) -> Any:
        # It is what a commit begins with, and the metastore is told of all columns again at its end.
        found = super()._get_hive_table(open_client, database_name, table_name)
        self._name_types(of_hive2=not any(ZONED in column.type for column in found.sd.cols or ()))
        return found

    def _convert_iceberg_into_hive(self, table: Table) -> Any:
        self._name_types(of_hive2=True)
        return super()._convert_iceberg_into_hive(table)

    def _name_types(self, *, of_hive2: bool) -> None:
        if self._keeps_types:
            self.properties[HIVE2_COMPATIBLE] = str(of_hive2).lower()


class _Client(_HiveClient):
    def _init_thrift_transport(self) -> Any:
        servers = servers_of(self._uri)
        connection = _Connection(servers)
        if self._kerberos_auth:
            return _Kerberos(connection, host=servers[0][0], service=self._kerberos_service_name)
        return TBufferedTransport(connection)


class _Connection(TSocket):  # type: ignore[misc]
    """To the first of the servers that can be reached; it waits neither for that nor for answers without end."""

    def __init__(self, servers: Sequence[tuple[str, int]]) -> None:
        super().__init__(*servers[0])
        self._servers = servers

    def open(self) -> None:
        """See thrift."""
        for number, server in enumerate(self._servers, 1):
            self.host, self.port = server
            self.setTimeout(_CONNECT_MS)
            try:
                super().open()
            except TTransportException:
                if number == len(self._servers):
                    raise
            else:
                self.setTimeout(_ANSWER_MS)
                return


class _Kerberos(TSaslClientTransport):  # type: ignore[misc]
    """Its ticket is one for the server that was reached: each has a name of its own."""

    def __init__(self, connection: _Connection, host: str, service: str | None) -> None:
        super().__init__(connection, host, service)
        self._service = service

    def open(self) -> None:
        """See thrift."""
        self.transport.open()
        try:
            super().__init__(self.transport, self.transport.host, self._service)
            super().open()
        except BaseException:
            # Else the next try would find it open.
            self.transport.close()
            raise


def servers_of(uri: str, what: str = "catalogs") -> list[tuple[str, int]]:
    """Hosts and ports of ``thrift://a:9083,thrift://b:9083``. ConfigError for anything else; what: whose."""
    found = [_SERVER.fullmatch(part.strip()) for part in uri.split(",")]
    servers = [(match["ip"] or match["host"], int(match["port"])) for match in found if match is not None]
    if len(servers) < len(found):
        raise ConfigError(f"{what}: uri is '{uri}'", hint="name servers: thrift://host:9083,thrift://other:9083")
    return servers
