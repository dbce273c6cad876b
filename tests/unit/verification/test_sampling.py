"""A sample does not depend on the order of rows, takes every entity alike, and holds no more than itself."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from yummy_feast.verification.sampling import KeySample


def keys(*values: Any, kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"id": pa.array(values, kind)})


def drawn(size: int, *batches: pa.Table, seed: int = 0) -> list[Any]:
    sample = KeySample(size, seed)
    for batch in batches:
        sample.add(batch)
    found = sample.keys()
    return [] if found is None else found.to_pylist()


def test_fewer_than_asked_for_are_all_of_them_once() -> None:
    assert sorted(row["id"] for row in drawn(10, keys(3, 1, 3), keys(1, 2))) == [1, 2, 3]
    assert drawn(10) == []
    assert drawn(10, keys(kind=pa.int64())) == []


def test_order_and_repetition_mean_nothing() -> None:
    seeded = random.Random(1)
    rows = [number for number in range(500) for _ in range(1 + number % 7)]
    first = drawn(20, keys(*rows))
    assert len(first) == 20
    for size in (1, 3, 100, 5000):
        seeded.shuffle(rows)
        batches = [keys(*rows[start : start + size]) for start in range(0, len(rows), size)]
        assert drawn(20, *batches) == first


def test_a_seed_chooses() -> None:
    batch = keys(*range(1000))
    assert drawn(10, batch, seed=7) == drawn(10, batch, seed=7)
    assert drawn(10, batch, seed=7) != drawn(10, batch, seed=8)
    assert drawn(10, batch, seed=-1) != drawn(10, batch, seed=1)


def test_every_entity_is_as_likely() -> None:
    """Each of ten, one of which has a thousand times the rows, is drawn first in about a tenth of the samples."""
    batch = keys(*range(10), *[3] * 1000)
    firsts = [drawn(1, batch, seed=seed)[0]["id"] for seed in range(2000)]
    assert all(140 < firsts.count(number) < 260 for number in range(10)), [firsts.count(n) for n in range(10)]


MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "values",
    [
        [-1, 0, 2**63 - 1],
        ["", "a", "ž"],
        [b"", b"\xff", b"\0"],
        [MOMENT, MOMENT + timedelta(microseconds=1), MOMENT - timedelta(days=1)],
        [MOMENT.date(), (MOMENT + timedelta(days=1)).date()],
        [True, False],
    ],
)
def test_keys_of_any_type(values: list[Any]) -> None:
    found = drawn(10, keys(*values), keys(*values))
    assert sorted(row["id"] for row in found) == sorted(values)


def test_a_dictionary_is_its_values_and_a_width_means_nothing() -> None:
    assert drawn(2, keys("a", "b", "c").take([0, 1, 2])) == drawn(
        2, pa.table({"id": pa.array(["c", "b", "a"]).dictionary_encode()})
    )
    assert drawn(3, keys(*range(50), kind=pa.int16())) == drawn(3, keys(*range(50), kind=pa.int64()))


def test_several_columns_make_one_key() -> None:
    pairs = [(a, b) for a in range(5) for b in ("x", "y", "")]
    table = pa.table({"a": [a for a, _ in pairs], "b": [b for _, b in pairs]})
    found = drawn(100, table, table)
    assert sorted((row["a"], row["b"]) for row in found) == sorted(pairs)
    # (1, 2) is not (2, 1).
    assert len(drawn(100, pa.table({"a": [1, 2], "b": [2, 1]}))) == 2


def test_only_the_sample_is_held() -> None:
    sample = KeySample(10)
    for start in range(0, 100_000, 1000):
        sample.add(keys(*range(start, start + 1000)))
    found = sample.keys()
    assert found is not None
    assert len(found) == 10
    assert found.nbytes < 1000
