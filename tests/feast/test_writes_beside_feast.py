"""What docs/feature-server-writes.md says of `feast serve` and of us is what both answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.feast.served.servers import Client, Reply
from tests.feast.served_app import served, served_by_feast
from tests.feast.writing import NOW, df, in_sqlite, repository
from tests.online_server import server

__all__ = ["server"]

# Feast's server warns of these, and only pytest makes errors of that.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Cannot write empty dataframe:UserWarning"),
    pytest.mark.filterwarnings("ignore:'HTTP_422_UNPROCESSABLE_ENTITY' is deprecated"),
]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "feature-server-writes.md"
RANGE = {"start_ts": "2026-01-01T00:00:00", "end_ts": NOW.isoformat(), "feature_views": ["hourly"]}


def write(**columns: Any) -> dict[str, Any]:
    return {"feature_view_name": "hourly", "df": df(**columns)}


WRITE, PUSH, RUN = "/write-to-online-store", "/push", "/materialize"
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "a push source that does not exist": (PUSH, {"push_source_name": "x", "df": df()}),
    "a view that does not exist": (WRITE, {**write(), "feature_view_name": "x"}),
    "columns of different lengths": (WRITE, write(trips=[1])),
    "no join key": (WRITE, write(driver_id=None)),
    "no event timestamp": (WRITE, write(event_timestamp=None)),
    "a feature is missing": (WRITE, write(trips=None)),
    "a null join key": (WRITE, write(driver_id=[7, None])),
    "`1.5` for an integer": (WRITE, write(trips=[1, 1.5])),
    "a text for an integer": (WRITE, write(trips=[1, "many"])),
    "no rows": (WRITE, {"feature_view_name": "hourly", "df": {}}),
    "a field that the body should not have": (WRITE, {**write(), "x": 1}),
    "`to` of another word": (PUSH, {"push_source_name": "events", "df": df(), "to": "nowhere"}),
    "an offline push with a column more": (PUSH, {"push_source_name": "events", "df": df(x=[1, 2]), "to": "offline"}),
    "a range that ends before it starts": (RUN, {**RANGE, "start_ts": RANGE["end_ts"], "end_ts": "2026-01-01"}),
    "no range": (RUN, {}),
    "no point in time": (RUN, {**RANGE, "start_ts": "soon"}),
    "materialization of a view that does not exist": (RUN, {**RANGE, "feature_views": ["x"]}),
    "materialization of no views": (RUN, {**RANGE, "feature_views": []}),
    "materialization from a source that is gone": (RUN, {**RANGE, "feature_views": ["broken"]}),
    "vector search": ("/search", {}),
}


@pytest.fixture(scope="module")
def clients(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Client]]:
    """Of Feast's server, and of ours."""
    theirs, ours = (tmp_path_factory.mktemp(name) for name in ("theirs", "ours"))
    with served_by_feast(in_sqlite(theirs)) as feast_url, served(repository(ours, server)) as our_url:
        feast, mine = (Client(int(url.rpartition(":")[2]), hangs_up=True) for url in (feast_url, our_url))
        with feast, mine:
            yield feast, mine


def listed() -> dict[str, list[str]]:
    section = PAGE.read_text(encoding="utf-8").partition("## Beside `feast serve`\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines[2:]}


def test_the_page_lists_them_all() -> None:
    assert list(listed()) == list(CASES)


@pytest.mark.parametrize("case", CASES)
def test_both_answer_as_the_page_says(clients: tuple[Client, Client], case: str) -> None:
    path, body = CASES[case]
    theirs, ours = (client.post(body, path) for client in clients)
    assert [str(theirs.status), shown(ours)] == listed()[case]


def shown(reply: Reply) -> str:
    return str(reply.status) if reply.status == 200 else f"{reply.status} `{reply.code}`"
