"""An `auth:` block: who is known and what they may, by Feast's own functions. Only the identity provider is made up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from feast import FeatureView
from feast.permissions.action import AuthzedAction
from feast.permissions.auth.auth_manager import AllowAll, set_auth_manager
from feast.permissions.auth.oidc_token_parser import OidcTokenParser
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy
from feast.permissions.security_manager import no_security_manager
from feast.permissions.user import User

from tests.feast.served.servers import PATH, Client
from tests.feast.served_app import served
from tests.feast.writing import NOW, df, repository
from tests.online_server import client_of, server

__all__ = ["server"]

AUTH = {"type": "oidc", "client_id": "features", "auth_discovery_url": "http://127.0.0.1:1/openid"}
READ = {"features": ["hourly:trips"], "entities": {"driver_id": [7]}}
PUSH = {"push_source_name": "events", "df": df()}
WRITE = {"feature_view_name": "hourly", "df": df()}
RUN = {"start_ts": "2020-01-01", "end_ts": NOW.isoformat(), "feature_views": ["hourly"]}
CALLS: list[tuple[str, dict[str, Any]]] = [
    (PATH, READ),
    ("/push", PUSH),
    ("/write-to-online-store", WRITE),
    ("/materialize", RUN),
]


@pytest.fixture(scope="module")
def client(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with client_of(server) as redis:
        redis.flushdb()

    async def known(_: Any, access_token: str) -> User:
        return User(access_token, roles={"reader": ["reading"], "writer": ["reading", "writing"]}[access_token])

    store = repository(tmp_path_factory.mktemp("auth"), server, top={"auth": AUTH})
    kinds: Any = [FeatureView]
    reading, writing = AuthzedAction.READ_ONLINE, AuthzedAction.WRITE_ONLINE
    store.apply(
        [
            Permission("reads", kinds, policy=RoleBasedPolicy(roles=["reading"]), actions=[reading]),
            Permission("writes", kinds, policy=RoleBasedPolicy(roles=["writing"]), actions=[writing]),
        ]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OidcTokenParser, "user_details_from_access_token", known)
        with served(store) as url, Client(int(url.rpartition(":")[2]), hangs_up=True) as client:
            yield client
    no_security_manager()
    set_auth_manager(AllowAll())


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(("path", "body"), CALLS)
@pytest.mark.parametrize("headers", [{}, bearer("stranger"), {"authorization": "Basic eDp5"}])
def test_nobody_known(client: Client, path: str, body: Any, headers: dict[str, str]) -> None:
    reply = client.post(body, path, headers)
    assert (reply.status, reply.code) == (401, "UNAUTHENTICATED")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert client.get("/health").status == 200


@pytest.mark.parametrize(("path", "body"), CALLS[1:])
def test_readers_do_not_write(client: Client, path: str, body: Any) -> None:
    assert client.post(READ, PATH, bearer("reader")).status == 200
    reply = client.post(body, path, bearer("reader"))
    assert (reply.status, reply.code) == (403, "PERMISSION_DENIED")
    assert client.get("/materializations").status == 401


def test_writers_write_online_alone(client: Client) -> None:
    for path, body in CALLS[1:]:
        assert client.post(body, path, bearer("writer")).status == 200, path
    assert client.post(READ, PATH, bearer("writer")).columns["trips"]["values"] == [70]
    for to in ("offline", "online_and_offline"):
        assert client.post({**PUSH, "to": to}, "/push", bearer("writer")).status == 403
