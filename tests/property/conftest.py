"""The server of the session, for properties of what is stored in it."""

from tests.online_server import client, client_of_session, server, socket

__all__ = ["client", "client_of_session", "server", "socket"]
