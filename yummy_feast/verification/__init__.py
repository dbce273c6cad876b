"""Whether the online store says what the offline store says: `yummy verify`, and the same for Python.

``verify(store)`` draws entities of each feature view, asks the offline store for their point-in-time answer at the
view's last materialization and the online store for its rows, and counts where they differ, by cause. Both sides are
asked, neither is imitated: matching stays in the engine, decoding in ``online.retrieval``.
"""

from yummy_feast.verification.check import verify
from yummy_feast.verification.report import Cause, Example, Verification, ViewReport

__all__ = ["Cause", "Example", "Verification", "ViewReport", "verify"]
