"""A node that speaks TLS: the system's redis-server, because the wheel's server does not."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.places import Node, node
from tests.unit.online.servers import free_port


@dataclass(frozen=True)
class Tls:
    """A node that speaks TLS alone, with the password `pw`."""

    node: Node
    certificate: Path
    """Self-signed for 127.0.0.1, with its key in the same file: the authority, the server's and a client's at once."""

    @property
    def address(self) -> str:
        return f"{self.node.address},ssl=true,password=pw"


def certificate(folder: Path) -> Path:
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
    path = folder / "certificate.pem"
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*plain) + signed.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def tls(folder: Path, *arguments: str, client_certificates: str = "no") -> Iterator[Tls]:
    """The system's redis-server with a certificate. Skips the test where there is none; in CI it fails."""
    binary = shutil.which("redis-server")
    if binary is None:
        _no_tls("no redis-server on the PATH (apt-get install redis-server)")
    port = free_port()
    pem = certificate(folder)
    options = ["--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--requirepass", "pw"]
    options += [part for name in ("cert", "key", "ca-cert") for part in (f"--tls-{name}-file", str(pem))]
    options += ["--tls-auth-clients", client_certificates, *arguments]
    with ExitStack() as stack:
        try:
            running = stack.enter_context(node(folder, *options, port=port, binary=binary))
        except RuntimeError as error:
            # What a build without TLS says of the setting.
            if "Bad directive" not in str(error):
                raise
            _no_tls(f"{binary} was built without TLS")
        yield Tls(running, pem)


def _no_tls(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
