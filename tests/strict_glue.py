"""moto's server with a Glue that refuses what Amazon's refuses: unknown keys, and changes of a table that has moved on.

``python strict_glue.py KEY[,KEY...] -H HOST -p PORT``: the keys that Glue knows, then moto's own arguments.
"""

from __future__ import annotations

import re
import sys
import threading
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.glue.responses import GlueResponse
from moto.server import main

_lock = threading.Lock()
_known = sys.argv[1].split(",") if __name__ == "__main__" else []
_update_table = GlueResponse.update_table
_authenticate = GlueResponse._authenticate_and_authorize_normal_action


def update_table(self: GlueResponse) -> Any:
    """A change names the version that it was made of."""
    asked = self.parameters
    with _lock:
        there = self.glue_backend.get_table(asked["DatabaseName"], asked["TableInput"]["Name"])
        if "VersionId" in asked and asked["VersionId"] != there.as_dict()["VersionId"]:
            raise JsonRESTError("ConcurrentModificationException", "the table was changed meanwhile")
        return _update_table(self)


def authenticate(self: GlueResponse, resource: str = "*") -> None:
    """Whose key the request was signed with must be known."""
    found = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
    if found is None or found[1] not in _known:
        raise JsonRESTError("UnrecognizedClientException", "The security token included in the request is invalid.")
    _authenticate(self, resource)


GlueResponse.update_table = update_table  # type: ignore[method-assign]
GlueResponse._authenticate_and_authorize_normal_action = authenticate  # type: ignore[method-assign]

if __name__ == "__main__":
    main(sys.argv[2:])
