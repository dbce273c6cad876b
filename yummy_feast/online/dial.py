"""From settings to a Link: connect, TLS, login, database; find the master where sentinels know it.

What goes wrong is told in redis-py's exceptions, so that ``redis_errors.translate`` has one vocabulary for both paths.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, Final

from redis import exceptions
from redis.asyncio.connection import RedisSSLContext

from yummy_feast.online import embedded
from yummy_feast.online.address import RedisSettings
from yummy_feast.online.connection_string import Node
from yummy_feast.online.link import Link
from yummy_feast.online.redis import HEALTH_CHECK_INTERVAL, find_master
from yummy_feast.online.wire import pack, reason_of


async def dial(settings: RedisSettings, node: Node | None = None) -> Link:
    """A connection that is logged in and ready: to ``node`` of a cluster, else to the Redis that ``settings`` name.

    Raises redis-py's ConnectionError, TimeoutError, AuthenticationError and ResponseError, and EmbeddedServerError.
    """
    if settings.repo_path is not None:
        # Starting a server blocks, and even looking for it does.
        server = await asyncio.to_thread(embedded.ensure, settings.repo_path)
        link = await _connect(settings, str(server.socket_path))
    elif settings.unix_socket is not None:
        link = await _connect(settings, str(settings.unix_socket))
    else:
        if node is None and settings.redis_type == "redis_sentinel":
            node = Node(*await asyncio.to_thread(find_master, settings))
        link = await _connect(settings, node or settings.nodes[0])
    try:
        await _log_in(link, settings)
    except BaseException:
        link.give_up(exceptions.ConnectionError("the login failed"))
        raise
    return link


async def _connect(settings: RedisSettings, where: Node | str) -> Link:
    interval = dict(settings.options).get("health_check_interval", HEALTH_CHECK_INTERVAL)
    link = Link(str(where), settings.read_timeout, interval)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(settings.connect_timeout):
            if isinstance(where, str):
                await loop.create_unix_connection(lambda: link, where)
                return link
            context = await asyncio.to_thread(_context, settings.tls) if settings.ssl else None
            transport, _ = await loop.create_connection(lambda: link, where.host, where.port, ssl=context)
    except TimeoutError:
        raise exceptions.TimeoutError("Timeout connecting to server") from None
    except OSError as error:
        raise exceptions.ConnectionError(f"Error connecting to {where}. {reason_of(error)}.") from error
    if dict(settings.options).get("socket_keepalive", True):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return link


_TLS_NAMES: Final = {
    "ssl_cert_reqs": "cert_reqs",
    "ssl_check_hostname": "check_hostname",
    "ssl_ca_certs": "ca_certs",
    "ssl_ca_path": "ca_path",
    "ssl_certfile": "certfile",
    "ssl_keyfile": "keyfile",
    "ssl_password": "password",
    "ssl_ciphers": "ciphers",
}


def _context(tls: tuple[tuple[str, Any], ...]) -> ssl.SSLContext:
    """The context that redis-py makes of the same options. Anew for each connection, because certificates are renewed,
    and in a thread, because reading them takes a while.
    """
    options: dict[str, Any] = {"cert_reqs": "required", "check_hostname": True}
    return RedisSSLContext(**options | {_TLS_NAMES[name]: value for name, value in tls}).get()


async def _log_in(link: Link, settings: RedisSettings) -> None:
    commands = []
    if settings.username:
        commands.append(pack("AUTH", settings.username, settings.password or ""))
    elif settings.password:
        commands.append(pack("AUTH", settings.password))
    name = dict(settings.options).get("client_name")
    if name:
        commands.append(pack("CLIENT", "SETNAME", name))
    if settings.db:
        commands.append(pack("SELECT", settings.db))
    if commands:
        for reply in await link.exchange(b"".join(commands), len(commands)):
            if isinstance(reply, Exception):
                raise reply
