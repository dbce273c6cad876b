"""The `auth:` block: tokens of an identity provider, permissions in the registry, decided by Feast's own functions."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from feast import FeatureService, FeatureStore, FeatureView
from feast.feast_object import FeastObject
from feast.permissions.action import AuthzedAction
from feast.permissions.auth.auth_manager import AllowAll, set_auth_manager
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy
from feast.permissions.security_manager import no_security_manager

from tests.feast.write_world import Ask, at_address, df, serve
from tests.online_server import address, server
from tests.unit.serving.kit import Answered

__all__ = ["address", "server"]

READ = {"features": ["stats:trips"], "entities": {"driver_id": [7]}}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The URL of an identity provider's discovery document."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here = f"http://127.0.0.1:{self.server.server_address[1]}"
            public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))
            document = {f"{name}_endpoint": f"{here}/{name}" for name in ("token", "authorization")}
            said = {"keys": [public | {"kid": "one", "use": "sig"}]} if self.path == "/keys" else document
            body = json.dumps(said | {"jwks_uri": f"{here}/keys"}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/discovery"
        running.shutdown()
        thread.join()


@pytest.fixture
def store(tmp_path: Path, address: str, provider: str) -> Iterator[FeatureStore]:
    auth = {"type": "oidc", "client_id": "features", "auth_discovery_url": provider}
    store = at_address(tmp_path, address, top={"auth": auth})
    service: FeastObject = FeatureService(name="both", features=[store.get_feature_view("stats")[["trips"]]])
    permissions: list[Any] = [
        Permission(
            name=f"{role} of views",
            types=[FeatureView, FeatureService],
            name_patterns=["stats", "both"],
            actions=actions,
            policy=RoleBasedPolicy([role]),
        )
        for role, actions in (
            ("reader", [AuthzedAction.READ_ONLINE]),
            ("writer", [AuthzedAction.WRITE_ONLINE, AuthzedAction.WRITE_OFFLINE]),
        )
    ]
    store.apply([service, *permissions])
    yield store
    no_security_manager()
    set_auth_manager(AllowAll())


def bearer(*roles: str, expires: float = 60, key: Any = KEY) -> dict[str, str]:
    claims = {"preferred_username": "ann", "exp": int(time.time() + expires), "roles": list(roles)}
    return {"authorization": f"Bearer {jwt.encode(claims, key, algorithm='RS256', headers={'kid': 'one'})}"}


def assert_unauthenticated(answered: Answered) -> None:
    assert answered.error == (401, "UNAUTHENTICATED")
    assert answered.headers["www-authenticate"] == "Bearer"


def test_nobody_without_a_token_that_is_good(store: FeatureStore) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    bad = ({}, {"authorization": "Basic x"}, {"authorization": "Bearer x"}, {"authorization": "Bearer a b"})
    tokens = (*bad, bearer("reader", expires=-60), bearer("reader", key=stranger))

    async def play(ask: Ask) -> None:
        for headers in tokens:
            assert_unauthenticated(await ask("/get-online-features", READ, headers=headers))
        paths: tuple[tuple[str, Any], ...] = (
            ("/push", {}),
            ("/write-to-online-store", {}),
            ("/materialize", {}),
            ("/materialize-incremental", {}),
            ("/materializations", None),
            ("/materializations/0123456789abcdef", None),
        )
        for path, body in paths:
            assert_unauthenticated(await ask(path, body))
        assert (await ask("/health")).status == 200
        metrics = (await ask("/metrics")).body.decode()
        assert f'yummy_features_requests_total{{code="UNAUTHENTICATED"}} {len(tokens)}.0' in metrics

    serve(store, play)


def test_who_may_read(store: FeatureStore) -> None:
    async def play(ask: Ask) -> None:
        for asked in (READ, {"feature_service": "both", "entities": {"driver_id": [7]}}):
            for _ in range(2):
                assert (await ask("/get-online-features", asked, headers=bearer("reader"))).status == 200
                denied = await ask("/get-online-features", asked, headers=bearer("writer"))
                assert denied.error == (403, "PERMISSION_DENIED"), denied.json
        others = {
            "features": ["stats:trips", "filed:trips"],
            "entities": {"driver_id": [7]},
            "full_feature_names": True,
        }
        assert (await ask("/get-online-features", others, headers=bearer("reader"))).error[0] == 403
        unknown = READ | {"features": ["stat:trips"]}
        assert (await ask("/get-online-features", unknown, headers=bearer("reader"))).error[0] == 404
        # Whose permissions count is not for the client to say, as it is in Feast's server.
        elsewhere = await ask("/get-online-features?project=other", READ, headers=bearer("writer"))
        assert elsewhere.error[0] == 403
        malformed = await ask("/get-online-features", {"features": 1}, headers=bearer("reader"))
        assert malformed.error == (422, "INVALID_BODY")

    serve(store, play)


def test_who_may_write(store: FeatureStore) -> None:
    body = {"feature_view_name": "stats", "df": df()}
    moments = {"end_ts": "2030-01-01", "feature_views": ["stats"]}

    async def play(ask: Ask) -> None:
        for path, sent in (("/write-to-online-store", body), ("/materialize-incremental", moments)):
            assert (await ask(path, sent, headers=bearer("reader"))).error == (403, "PERMISSION_DENIED")
            allowed = await ask(path, sent, headers=bearer("writer"))
            assert allowed.status == 200, allowed.json
        # It also feeds a view that nobody has a permission for.
        pushed = await ask("/push", {"push_source_name": "pushed", "df": df()}, headers=bearer("writer"))
        assert pushed.error == (403, "PERMISSION_DENIED")

    serve(store, play)
