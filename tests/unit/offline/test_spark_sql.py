"""Which names in SQL may be tables, found without Spark."""

from __future__ import annotations

import pytest

from yummy_feast.offline.engines.spark_sql import tables_of


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT * FROM trips", ["trips"]),
        ('select a.b, c from "my trips" t join USERS u using (k)', ["my trips", "USERS"]),
        ("SELECT k FROM local . flights.rows ORDER BY k", ["local.flights.rows"]),
        ("SELECT 'FROM text', \"FROM name\" /* FROM comment */ FROM x -- FROM end", ["x"]),
        ("SELECT 'it''s FROM here' FROM `a``b`", ["a`b"]),
        ("FROM a, b WHERE a.k = b.k", ["a", "b"]),
        ("SELECT (SELECT max(v) FROM inner_one) FROM (SELECT 1 FROM deep.er)", ["inner_one", "deep.er"]),
        ("SELECT 1", []),
        ("", []),
    ],
)
def test_names_after_from_and_join(sql: str, tables: list[str]) -> None:
    found = [".".join(named.parts) for named in tables_of(sql)]
    assert [name for name in found if name in tables] == tables
    for named in tables_of(sql):
        assert sql[named.start : named.end].count(".") >= len(named.parts) - 1
