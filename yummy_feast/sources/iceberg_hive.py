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
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties
from pyiceberg.utils.properties import property_as_bool
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TBufferedTransport, TSaslClientTransport, TTransportException

from yummy_feast.errors import ConfigError

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
    # What Spark's client, which is one of Hive 2, calls the columns' types; and a table has one name for each of them.
    HIVE2_COMPATIBLE: "true",
}
_SERVER = re.compile(r"thrift://(?:\[(?P<ip>[^\]]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>\d{1,5})/?")


class Metastore(HiveCatalog):
    """A catalog in a Hive metastore. Of the servers in ``uri`` the first that can be reached is asked.

    Raises:
        ConfigError: ``uri`` names something else than servers.
    """

    def __init__(self, name: str, **properties: str) -> None:
        servers_of(properties.get("uri", ""), f"catalog '{name}'")
        super().__init__(name, **{**_USUAL, **properties})

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


class _Client(_HiveClient):
    def _init_thrift_transport(self) -> Any:
        servers = servers_of(self._uri)
        connection = _Connection(servers)
        if self._kerberos_auth:
            return TSaslClientTransport(connection, host=servers[0][0], service=self._kerberos_service_name)
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


def servers_of(uri: str, what: str = "catalogs") -> list[tuple[str, int]]:
    """Hosts and ports of ``thrift://a:9083,thrift://b:9083``. ConfigError for anything else; what: whose."""
    found = [_SERVER.fullmatch(part.strip()) for part in uri.split(",")]
    servers = [(match["ip"] or match["host"], int(match["port"])) for match in found if match is not None]
    if len(servers) < len(found):
        raise ConfigError(f"{what}: uri is '{uri}'", hint="name servers: thrift://host:9083,thrift://other:9083")
    return servers
