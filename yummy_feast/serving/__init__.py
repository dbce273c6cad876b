"""Thin HTTP faces: each decodes a request, calls its room, and encodes the answer."""
