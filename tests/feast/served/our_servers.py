"""Our feature server for repositories, one port each, in one process: ``python -m tests.feast.served.our_servers
FOLDER=PORT[=COMPAT]...``; prints a line once all of them take connections.
"""

from __future__ import annotations

import asyncio
import sys

import uvicorn
from feast import FeatureStore

from yummy_feast.serving.features.app import FeatureApp, ServingOptions


async def serve(arguments: list[str]) -> None:
    servers = []
    for argument in arguments:
        folder, port, *_ = argument.split("=")
        app = FeatureApp(FeatureStore(folder), ServingOptions(registry_poll=0.2))
        config = uvicorn.Config(app, port=int(port), log_level="warning", access_log=False, lifespan="on")
        servers.append(uvicorn.Server(config))
    tasks = [asyncio.create_task(server.serve()) for server in servers]
    while not all(server.started for server in servers):
        await asyncio.wait(tasks, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
                sys.exit("a server has ended")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(sys.argv[1:]))
