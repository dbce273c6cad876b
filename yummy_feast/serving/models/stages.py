"""When the stages of a request for predictions ended."""

from __future__ import annotations

from yummy_feast.serving.http import Header


class Stages:
    """``perf_counter()`` at the end of each stage; 0 for those that a request did not reach.

    fetched: features from the online store. scored: seconds of scoring. rows: that were scored.
    """

    __slots__ = ("decoded", "encoded", "fetched", "rows", "scored", "started")

    def __init__(self, started: float) -> None:
        self.started = started
        self.decoded = 0.0
        self.fetched = 0.0
        self.scored = 0.0
        self.encoded = 0.0
        self.rows = 0

    def score(self, seconds: float, rows: int) -> None:
        """So many rows were scored in so many seconds."""
        self.scored += seconds
        self.rows += rows

    def seconds(self, ended: float) -> tuple[float, float, float, float]:
        """How long decoding, fetching features, scoring and encoding took; the last three are 0 if not reached."""
        decoded = self.decoded or self.fetched or ended
        fetch = max(self.fetched - decoded, 0.0) if self.fetched else 0.0
        rest = ended - self.started - (decoded - self.started) - fetch - self.scored
        return decoded - self.started, fetch, self.scored, max(rest, 0.0)

    def header(self, ended: float) -> Header:
        """``Server-Timing`` in milliseconds."""
        decode, fetch, score, encode = self.seconds(ended)
        features = b"features;dur=%.3f, " % (fetch * 1e3) if self.fetched else b""
        return (
            b"server-timing",
            b"decode;dur=%.3f, %bscore;dur=%.3f, encode;dur=%.3f" % (decode * 1e3, features, score * 1e3, encode * 1e3),
        )
