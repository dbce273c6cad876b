"""The server of the session, for properties of what is stored in it."""

from tests.online_server import address, client, client_of_session, server

__all__ = ["address", "client", "client_of_session", "server"]
