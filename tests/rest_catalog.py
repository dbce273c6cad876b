"""An Iceberg REST catalog for tests: the protocol's tables and namespaces over HTTP, kept in a pyiceberg SQL catalog.

It asks for a bearer token, and can be told to commit and then answer 500, as a gateway does that lost its backend.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pyiceberg import exceptions
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableRequest, Table
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder

TOKEN = "bearer-hush-do-not-log-me"
_ERRORS: dict[type[Exception], int] = {
    exceptions.NoSuchTableError: 404,
    exceptions.NoSuchNamespaceError: 404,
    exceptions.NamespaceAlreadyExistsError: 409,
    exceptions.TableAlreadyExistsError: 409,
    exceptions.CommitFailedException: 409,
}


class RestCatalog:
    """The server's state: its catalog, how many of the next commits lose their answer, and how many requests the server
    lets drop from then on, as one that starts again does.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.uri = ""
        self.lost_answers = 0
        self.down_for = 0
        self.is_down = False
        self.lock = threading.Lock()
        """SQLite knows one writer at a time; a real catalog waits in its own way."""

    @property
    def keys(self) -> dict[str, str]:
        """What to put under ``catalogs``."""
        return {"type": "rest", "uri": self.uri, "token": TOKEN}

    # ------------------------------------------------------------------------------ the protocol

    def answer(self, method: str, parts: list[str], body: bytes) -> Any:
        """The JSON answer; None for 204. Raises pyiceberg's errors."""
        match method, parts:
            case _ if self.is_down and self.down_for > 0:
                self.down_for -= 1
                raise ConnectionAbortedError("nobody is here")
            case "GET", ["config"]:
                return {"defaults": {}, "overrides": {}}
            case "POST", ["namespaces"]:
                wanted = json.loads(body)
                self.catalog.create_namespace(tuple(wanted["namespace"]), wanted.get("properties") or {})
                return wanted
            case "GET" | "HEAD", ["namespaces", namespace]:
                return {"namespace": [namespace], "properties": dict(self.catalog.load_namespace_properties(namespace))}
            case "GET", ["namespaces", namespace, "tables"]:
                found = self.catalog.list_tables(namespace)
                return {"identifiers": [{"namespace": list(item[:-1]), "name": item[-1]} for item in found]}
            case "POST", ["namespaces", namespace, "tables"]:
                return self._create(namespace, json.loads(body))
            case "GET" | "HEAD", ["namespaces", namespace, "tables", name]:
                return _loaded(self.catalog.load_table((namespace, name)))
            case "POST", ["namespaces", namespace, "tables", name]:
                # Iceberg's own client names the table in the address alone.
                wanted = {"identifier": {"namespace": [namespace], "name": name}, **json.loads(body)}
                return self._commit((namespace, name), CommitTableRequest.model_validate(wanted))
            case "POST", ["namespaces", _, "tables", _, "metrics"]:
                return None
            case "DELETE", ["namespaces", namespace, "tables", name]:
                return self.catalog.drop_table((namespace, name))
            case "POST", ["tables", "rename"]:
                wanted = json.loads(body)
                old, new = ((*item["namespace"], item["name"]) for item in (wanted["source"], wanted["destination"]))
                self.catalog.rename_table(old, new)
                return None
            case _:
                raise NotImplementedError(f"{method} {parts}")

    def _create(self, namespace: str, wanted: dict[str, Any]) -> Any:
        spec, order = wanted.get("partition-spec"), wanted.get("write-order")
        made = self.catalog.create_table(
            (namespace, wanted["name"]),
            schema=Schema.model_validate(wanted["schema"]),
            location=wanted.get("location"),
            partition_spec=PartitionSpec.model_validate(spec) if spec else UNPARTITIONED_PARTITION_SPEC,
            sort_order=SortOrder.model_validate(order) if order else UNSORTED_SORT_ORDER,
            properties=wanted.get("properties") or {},
        )
        return _loaded(made)

    def _commit(self, name: tuple[str, str], wanted: CommitTableRequest) -> Any:
        done = self.catalog.commit_table(self.catalog.load_table(name), wanted.requirements, wanted.updates)
        if self.lost_answers:
            self.lost_answers -= 1
            self.is_down = self.down_for > 0
            raise ConnectionAbortedError("the backend is gone")
        return {"metadata-location": done.metadata_location, "metadata": _json(done.metadata)}


def _loaded(table: Table) -> Any:
    return {"metadata-location": table.metadata_location, "metadata": _json(table.metadata), "config": {}}


def _json(model: Any) -> Any:
    return json.loads(model.model_dump_json())


def _handler(served: RestCatalog) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = [unquote(part) for part in urlsplit(self.path).path.split("/")[2:]]
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._send(401, _error(401, "NotAuthorizedException", "no such token"))
                return
            try:
                with served.lock:
                    found = served.answer(self.command, parts, body)
            except tuple(_ERRORS) as error:
                code = next(code for kind, code in _ERRORS.items() if isinstance(error, kind))
                self._send(code, _error(code, type(error).__name__, str(error)))
            except ConnectionAbortedError as error:
                if served.is_down:
                    self.close_connection = True
                    return
                self._send(500, _error(500, "InternalServerError", str(error)))
            else:
                self._send(204 if found is None else 200, found)

        do_GET = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815 - the names that http.server calls

        def _send(self, code: int, answer: Any) -> None:
            payload = b"" if answer is None or self.command == "HEAD" else json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            if code != 204:
                self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _error(code: int, kind: str, message: str) -> Any:
    return {"error": {"code": code, "type": kind, "message": message}}


@contextmanager
def rest_catalog(folder: Path, warehouse: str, properties: Mapping[str, str] | None = None) -> Iterator[RestCatalog]:
    """A catalog on a free port; its tables lie below ``warehouse``, its database in ``folder``."""
    catalog = load_catalog(
        "rest", type="sql", uri=f"sqlite:///{folder}/rest.db", warehouse=warehouse, **(properties or {})
    )
    served = RestCatalog(catalog)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    server.daemon_threads = True
    served.uri = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        catalog.close()
