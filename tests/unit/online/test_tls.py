"""TLS, on a real server that speaks it: the system's redis-server, because the wheel's does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import places, tls_node
from yummy_feast.errors import ServerUnavailableError
from yummy_feast.online.redis import RedisSettings, connect, ping

parse = RedisSettings.parse


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tls_node.Tls]:
    with tls_node.tls(tmp_path_factory.mktemp("tls")) as running:
        yield running


def test_a_trusted_server_is_used_by_either_form(tls: tls_node.Tls) -> None:
    feast_form = f"{tls.address},ssl_ca_certs={tls.certificate}"
    url = f"rediss://:pw@{tls.node.address}/0?ssl_ca_certs={tls.certificate}"
    careless = f"rediss://:pw@{tls.node.address}?ssl_cert_reqs=none"
    for number, text in enumerate((feast_form, url, careless)):
        with connect(parse(text)) as client:
            client.set("key", number)
            assert client.get("key") == str(number).encode()


def test_a_client_certificate_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    with tls_node.tls(tmp_path, client_certificates="yes") as strict:
        trusting = f"{strict.address},ssl_ca_certs={strict.certificate}"
        mine = f"{trusting},ssl_certfile={strict.certificate},ssl_keyfile={strict.certificate}"
        with connect(parse(mine)) as client:
            assert client.ping()
        # With TLS 1.3 the client may have spoken before it hears the refusal, so the cause is not always told.
        with pytest.raises(ServerUnavailableError, match=r"client certificate.*add ssl_certfile and ssl_keyfile"):
            ping(parse(trusting, retries=0))


def test_what_is_wrong_with_tls_is_told(tls: tls_node.Tls, tmp_path: Path) -> None:
    with pytest.raises(
        ServerUnavailableError, match=r"shows a certificate nobody here trusts.*\(add ssl_ca_certs=FILE"
    ):
        ping(parse(f"rediss://:pw@{tls.node.address}", retries=0))
    # A plain server takes the greeting for the beginning of a command, and waits for the rest.
    with (
        places.node(tmp_path) as plain,
        pytest.raises(ServerUnavailableError, match=r"does not answer in time.*does it speak TLS at this port\?"),
    ):
        ping(parse(f"rediss://:pw@{plain.address}", retries=0, read_timeout=0.2, connect_timeout=0.2))
    with pytest.raises(ServerUnavailableError, match=r"closed the connection.*\(if it speaks TLS, add ssl=true"):
        ping(parse(f"redis://:pw@{tls.node.address}", retries=0))
