"""From the offline store to the online store: the newest row per key of a window, streamed.

``window`` decides what to copy, ``columns`` names what is read and written, ``copying`` moves the rows, ``engine`` is
what Feast calls.
"""

from __future__ import annotations
