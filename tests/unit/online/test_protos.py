"""Stored rows as Feast's messages."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from feast.protos.feast.types.Value_pb2 import Value

from tests.unit.online.test_store import stats
from yummy_feast.errors import OnlineRequestError
from yummy_feast.online.protos import as_protos, features_of


def test_features_of_a_view() -> None:
    assert features_of(stats) == (("trips", 4), ("label", 2))
    assert features_of(stats, ["label"]) == (("label", 2),)
    assert features_of(stats, []) == features_of(stats)
    with pytest.raises(OnlineRequestError, match=r"'stats' has no feature 'lable' .did you mean 'label'"):
        features_of(stats, ["lable"])


def test_rows_become_messages() -> None:
    assert as_protos(features_of(stats), [(1_000_001, (7, None)), None]) == [
        (datetime(1970, 1, 1, 0, 0, 1, 1, UTC), {"trips": Value(int64_val=7), "label": Value()}),
        (None, None),
    ]
