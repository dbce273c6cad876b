"""A fetch and a materialization on Kubernetes, in a process of its own: ``python -m tests.feast.kube_fetch ...``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.feast import cluster_fetch
from tests.feast.repo import at, feature_store

VIEWS = ["lake", "lines"]
"""One that Spark reads itself, with a jar of the driver's, and one that this package reads on executors."""


def materialize(folder: Path, address: str, **settings: Any) -> None:
    """Those views, by an engine."""
    store = feature_store(folder, online=at(address), **settings)
    store.materialize(cluster_fetch.FIRST, cluster_fetch.LAST, VIEWS)


def main(repo: Path, spark_conf: dict[str, Any], answer: str, address: str) -> None:
    """Both, in one session."""
    settings = {"engine": "spark", "spark_conf": spark_conf}
    pq.write_table(cluster_fetch.answer(repo, **settings), answer)
    materialize(repo, address, **settings)
    # What everybody may ask the driver for.
    from yummy_feast.spark.session import active

    for key, value in active().sql("SET").collect():  # type: ignore[union-attr]
        print(key, value)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), sys.argv[3], sys.argv[4])
