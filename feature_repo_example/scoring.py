"""The trained model served by `yummy models serve`: flights go in by their keys, chances come out."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feature_repo_example import checks
from feature_repo_example.board import SERVICE
from feature_repo_example.console import say
from feature_repo_example.model import Model, save
from feature_repo_example.prepare import Layout

_KEYS = ("carrier", "origin", "tailnum")
# What the timetable tells and no feature view has: the request brings it.
_BROUGHT = ("hour", "weekday", "dest", "distance")


def score(layout: Layout, model: Model, board: pd.DataFrame) -> np.ndarray:
    """Chances of the flights on the `board`, asked for over HTTP. CheckError unless they are those on the board."""
    folder = save(model, layout.data / "model")
    with _server(layout.repo, folder) as url:
        body = _request(board)
        answer = _post(f"{url}/invocations", body)
    chances = np.array(answer["predictions"])
    if not np.allclose(chances, board["after"], rtol=0, atol=1e-9):
        raise checks.CheckError("the model behind HTTP answers otherwise than the one in this process")
    say(f"yummy models serve -m {os.path.relpath(folder)} --feature-service {SERVICE}")
    first = ", ".join(f"{name} {board[name].iloc[0]}" for name in _KEYS)
    say(f"ok  {len(chances)} chances by keys alone ({first}, ...), the same as on the board")
    return chances


def _request(board: pd.DataFrame) -> dict[str, Any]:
    return {
        "entities": {
            **{name: board[name].tolist() for name in _KEYS},
            "scheduled": [moment.isoformat() for moment in board["scheduled"]],
        },
        "overrides": {name: board[name].tolist() for name in _BROUGHT},
    }


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@contextmanager
def _server(repo: Path, folder: Path) -> Iterator[str]:
    """Where the server is, once it says that it is ready."""
    main = "import sys; from yummy_feast.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", main, "models", "serve", "-m", str(folder), "-p", "0"]
    command += ["--feature-service", SERVICE, "-f", str(repo / "feature_store.yaml")]
    command += [word for name in _BROUGHT for word in ("--override", name)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            ready = re.search(r"ready on (http\S+)", line)
            if ready:
                yield ready[1]
                break
        else:
            raise SystemExit(f"yummy models serve failed:\n{''.join(lines)}")
    finally:
        process.terminate()
        process.communicate(timeout=30)
