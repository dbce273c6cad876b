"""All that a fetch hands out, through Spark Connect: ``python -m tests.feast.connect_fetch REPO ADDRESS ANSWERS``.

In a process of its own: one that has met a Connect server has no Spark of its own any more.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from tests.feast.cluster_fetch import job_of
from yummy_feast.sources.storage import SavedDatasetYummyStorage
from yummy_feast.spark.session import active
from yummy_feast.spark.telling import is_remote


def main(repo: Path, address: str, answers: Path) -> None:
    """Writes ``arrow``, ``frame`` and ``kept``: the same rows on three ways."""
    settings = {"engine": "spark", "spark_conf": {"master": address}, "staging_location": str(answers / "staged")}
    job = job_of(repo, **settings)
    pq.write_table(job.to_arrow(), answers / "arrow.parquet")
    assert is_remote(active())

    asked = active().read.parquet(str(repo / "asked.parquet"))
    frame = job_of(repo, asked, **settings).to_spark_df()
    assert type(frame) is type(asked)
    pq.write_table(frame.toArrow(), answers / "frame.parquet")

    job.persist(SavedDatasetYummyStorage(path=str(answers / "kept")))
    assert job.to_remote_storage()
    sql = "SELECT thing_id, max(event_timestamp) AS event_timestamp FROM quick GROUP BY 1"
    found = job_of(repo, sql, **settings).to_df()
    assert 0 < len(found) <= 500
    # Nobody holds the job, nor its rows.
    assert job_of(repo, sql, **settings).to_spark_df().where("thing_id IS NOT NULL").count() == len(found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
