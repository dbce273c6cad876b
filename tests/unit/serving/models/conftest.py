"""Which online server the tests of this folder use."""

from tests.online_server import address, client, server

__all__ = ["address", "client", "server"]
