"""Whether an application of ours would answer, asked without a connection."""

from __future__ import annotations

import msgspec

from yummy_feast.serving.http import Application, Message

HEALTH_PATH = "/health"


async def why_not_healthy(application: Application) -> str:
    """Empty when ``GET /health`` is answered with 200, else why not."""
    status, body = 0, b""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            body += message.get("body", b"")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "method": "GET",
        "path": HEALTH_PATH,
        "raw_path": HEALTH_PATH.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": None,
        "server": None,
    }
    await application(scope, receive, send)
    if status == 200:
        return ""
    try:
        return str(msgspec.json.decode(body)["detail"]["message"])
    except (msgspec.DecodeError, TypeError, KeyError):
        return f"{HEALTH_PATH} answers {status}"
