from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from yummy_feast.errors import LockfileError
from yummy_feast.offline.lockfile import (
    Column,
    Entities,
    Feature,
    Lockfile,
    OnDemand,
    Request,
    Rows,
    Source,
    View,
    replayed,
)

ROWS = Rows(2, {"v": Column("int64", "sha256:ab")})
LOCK = Lockfile(
    lockfile=1,
    written="2026-11-01T00:00:00+00:00",
    project="lab",
    engine="duckdb",
    packages={"feast": "0.67.0"},
    request=Request(("stats:v",), False, True, Entities("range", None, "2026-01-01T00:00:00+00:00", None)),
    entity_rows=ROWS,
    views={"stats": View("s", {"k": "k"}, {"v": Feature("v", "int64")}, "ts", None, 0.5)},
    on_demand_views={"od": OnDemand("pandas", ("stats:v",), {"w": "Int64"}, "sha256:cd")},
    # Larger than a double can tell apart.
    sources={"s": Source("a.B", "b", {"path": "b"}, {"snapshot_id": 2**62 + 1})},
    answer=None,
)


def test_a_lockfile_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.lock.json"
    path.write_text("something else")
    LOCK.save(path)
    assert Lockfile.load(path) == LOCK
    LOCK.save(str(path))
    assert path.read_bytes() == LOCK.to_json()
    assert path.read_text().startswith('{\n  "lockfile": 1,\n  "written": "2026-11-01')
    assert list(tmp_path.iterdir()) == [path]


def test_more_facts_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.lock.json"
    path.write_bytes(LOCK.to_json().replace(b'"project"', b'"weather": "fine", "project"'))
    assert Lockfile.load(path) == LOCK


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "is no lockfile"),
        (b"[1]", "is no lockfile"),
        (b"\xff\xfe", "is no lockfile"),
        (b"{}", "missing required field `lockfile`"),
        (
            LOCK.to_json().replace(b'"rows": 2', b'"rows": "two"'),
            r"Expected `int`, got `str` - at `\$.entity_rows.rows`",
        ),
        (LOCK.to_json().replace(b'"lockfile": 1', b'"lockfile": 2'), "lockfile format 2 .install a later yummy-feast"),
    ],
    ids=["empty", "a list", "no text", "nothing", "a type", "a later format"],
)
def test_what_is_no_lockfile_is_said(tmp_path: Path, text: bytes, complaint: str) -> None:
    path = tmp_path / "a.lock.json"
    path.write_bytes(text)
    with pytest.raises(LockfileError, match=complaint) as caught:
        Lockfile.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Lockfile.load(tmp_path / "absent")


def test_a_replay_ends_with_its_block_and_stays_in_its_thread() -> None:
    other = replace(LOCK, project="other")
    seen = []
    with LOCK.replay():
        with other.replay():
            assert replayed() is other
        assert replayed() is LOCK
        thread = threading.Thread(target=lambda: seen.append(replayed()))
        thread.start()
        thread.join()
    assert replayed() is None
    assert seen == [None]
