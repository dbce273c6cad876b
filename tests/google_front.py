"""What stands before fake-gcs-server in tests: who may come in, and what of Google's XML API that server lacks.

``python -m tests.google_front PORT UPSTREAM_PORT PUBLIC_KEY_FILE TOKEN``. deltalake writes by the XML API (PUT of an
object, with a precondition in a header), which the server knows by its JSON API alone: the request is put into those
words. Everything else goes through as it came, so that what is stored, listed, and refused is the server's doing.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree

import jwt

TOKENS = "/token"
"""Where service accounts get access tokens."""
OPEN = "open-"
"""Buckets whose names begin so are everybody's."""
_JSON = ("storage", "upload", "download", "batch", "_internal", "b")
_BETWEEN = b"between-the-parts-of-an-upload"
_BYTES = b"application/octet-stream"
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class Front(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece, and at once.
    wbufsize = -1
    disable_nagle_algorithm = True
    upstream: ClassVar[int]
    public_key: ClassVar[str]
    token: ClassVar[str]
    _here = threading.local()

    def handle_any(self) -> None:
        """Check who asks, say it in the server's words, and hand back its answer."""
        body = self._body()
        if self.path == TOKENS:
            self._hand_out_a_token(body)
            return
        if not (self._is_open() or self._is_known()):
            self._answer(401, {"Content-Type": "application/json"}, b'{"error":{"code":401,"message":"Invalid token"}}')
            return
        method, path, headers, body = self._in_the_servers_words(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            content = reply.read()
        finally:
            connection.close()
        kept = {name: value for name, value in reply.getheaders() if name.lower() not in _HOP}
        if method != self.command and reply.status == 200:
            stored = json.loads(content)
            kept, content = {"ETag": f'"{stored["etag"]}"', "x-goog-generation": stored["generation"]}, b""
        if after := parse_qs(urlsplit(self.path).query).get("start-after" if self._is_xml() else "", [""])[0]:
            content = _listed_after(after, content)
        if self.command == "HEAD":
            kept["Content-Length"] = reply.getheader("Content-Length") or "0"
        if reply.status == 500 and b"no bucket" in content:
            # Its XML listing has no other word for that.
            content = b"<Error><Code>NoSuchBucket</Code></Error>"
            self._answer(404, {"Content-Type": "application/xml"}, content)
            return
        self._answer(reply.status, kept, content)

    def _is_open(self) -> bool:
        return self._bucket().startswith(OPEN) or self.path == "/" or self.path.startswith("/_internal")

    def _is_known(self) -> bool:
        """Whether the token is the tests', or one that the tests' service account has signed itself."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and (token == self.token or self._is_signed(token))

    def _hand_out_a_token(self, body: bytes) -> None:
        """For an assertion that the service account has signed."""
        assertion = parse_qs(body.decode()).get("assertion", [""])[0]
        if not self._is_signed(assertion):
            self._answer(400, {"Content-Type": "application/json"}, b'{"error": "invalid_grant"}')
            return
        token = {"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"}
        self._answer(200, {"Content-Type": "application/json"}, json.dumps(token).encode())

    def _is_signed(self, token: str) -> bool:
        try:
            jwt.decode(token, self.public_key, algorithms=["RS256"], options={"verify_aud": False})
        except jwt.InvalidTokenError:
            return False
        return True

    def _parts(self) -> list[str]:
        return [unquote(part) for part in urlsplit(self.path).path.lstrip("/").split("/")]

    def _is_xml(self) -> bool:
        return self._parts()[0] not in _JSON

    def _bucket(self) -> str:
        parts = self._parts()
        if not self._is_xml():
            return parts[parts.index("b") + 1] if "b" in parts[:-1] else ""
        return parts[0]

    def _in_the_servers_words(self, body: bytes) -> tuple[str, str, dict[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        headers["Host"] = self.headers.get("Host", "")
        if not (self._is_xml() and self.command == "PUT"):
            return self.command, self.path, headers, body
        bucket, *names = self._parts()
        query = {"uploadType": "multipart"}
        if (generation := self.headers.get("x-goog-if-generation-match")) is not None:
            query["ifGenerationMatch"] = generation
        parts = b"".join(
            b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (_BETWEEN, kind, part)
            for kind, part in ((b"application/json", json.dumps({"name": "/".join(names)}).encode()), (_BYTES, body))
        )
        headers = {"Host": headers["Host"], "Content-Type": f"multipart/related; boundary={_BETWEEN.decode()}"}
        path = f"/upload/storage/v1/b/{quote(bucket)}/o?{urlencode(query)}"
        return "POST", path, headers, parts + b"--%s--\r\n" % _BETWEEN

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        chunk = self.rfile.read(size)
        self.rfile.readline()
        return chunk

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


for _verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(Front, f"do_{_verb}", Front.handle_any)


def _listed_after(name: str, listing: bytes) -> bytes:
    """An XML listing from after ``name`` on, which the server lists from the beginning."""
    found = ElementTree.fromstring(listing)
    for entry in found.findall("Contents"):
        if (entry.findtext("Key") or "") <= name:
            found.remove(entry)
    return ElementTree.tostring(found)


if __name__ == "__main__":
    port, Front.upstream, key, Front.token = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    Front.public_key = Path(key).read_text()
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", port), Front).serve_forever()
