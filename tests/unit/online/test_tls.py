"""TLS, with a proxy in front of a real server: the wheel's server speaks none."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.online.servers import valkey
from yummy_feast.errors import ServerUnavailableError
from yummy_feast.online.redis import RedisSettings, connect, ping

parse = RedisSettings.parse


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*plain) + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def plain_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with valkey(tmp_path_factory.mktemp("valkey"), "--requirepass", "pw") as port:
        yield port


@pytest.fixture(scope="module")
def tls_port(plain_port: int, certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    threads: list[threading.Thread] = []

    def start(*arguments: object) -> None:
        threads.append(threading.Thread(target=arguments[0], args=arguments[1:]))  # type: ignore[arg-type]
        threads[-1].start()

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                outside, _ = server.accept()
                start(handle, outside)

    def handle(outside: socket.socket) -> None:
        with (
            suppress(OSError),
            context.wrap_socket(outside, server_side=True) as decoded,
            socket.create_connection(("127.0.0.1", plain_port)) as inside,
        ):
            answers = threading.Thread(target=copy, args=(inside, decoded))
            answers.start()
            copy(decoded, inside)
            answers.join()

    with socket.create_server(("127.0.0.1", 0)) as server:
        start(serve, server)
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def test_a_trusted_server_is_used_by_either_form(tls_port: int, certificate: Path) -> None:
    feast_form = f"127.0.0.1:{tls_port},ssl=true,password=pw,ssl_ca_certs={certificate}"
    url = f"rediss://:pw@127.0.0.1:{tls_port}/0?ssl_ca_certs={certificate}"
    careless = f"rediss://:pw@127.0.0.1:{tls_port}?ssl_cert_reqs=none"
    for number, text in enumerate((feast_form, url, careless)):
        with connect(parse(text)) as client:
            client.set("key", number)
            assert client.get("key") == str(number).encode()


def test_what_is_wrong_with_tls_is_told(tls_port: int, plain_port: int) -> None:
    with pytest.raises(
        ServerUnavailableError, match=r"shows a certificate nobody here trusts.*\(add ssl_ca_certs=FILE"
    ):
        ping(parse(f"rediss://:pw@127.0.0.1:{tls_port}", retries=0))
    # A plain server takes the greeting for the beginning of a command, and waits for the rest.
    with pytest.raises(ServerUnavailableError, match=r"does not answer in time.*does it speak TLS at this port\?"):
        ping(parse(f"rediss://:pw@127.0.0.1:{plain_port}", retries=0, read_timeout=0.2, connect_timeout=0.2))
    with pytest.raises(ServerUnavailableError, match=r"closed the connection.*\(if it speaks TLS, add ssl=true"):
        ping(parse(f"redis://:pw@127.0.0.1:{tls_port}", retries=0))
