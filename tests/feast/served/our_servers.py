"""Our feature server for repositories, one port each, in one process.

``python -m tests.feast.served.our_servers OPTIONS FOLDER=PORT...``; OPTIONS are those of ServingOptions, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

import uvicorn
from feast import FeatureStore

from yummy_feast.serving.features.app import FeatureApp, ServingOptions


async def serve(options: ServingOptions, places: list[str]) -> None:
    servers = []
    for place in places:
        folder, _, port = place.rpartition("=")
        app = FeatureApp(FeatureStore(folder), options)
        config = uvicorn.Config(app, port=int(port), log_level="warning", access_log=False, lifespan="on")
        servers.append(uvicorn.Server(config))
    await asyncio.gather(*(server.serve() for server in servers))


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(ServingOptions(**json.loads(sys.argv[1])), sys.argv[2:]))
