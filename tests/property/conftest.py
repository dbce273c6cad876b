"""The server of the session, for properties of what is stored in it."""

from tests.online_server import client, server, socket

__all__ = ["client", "server", "socket"]
