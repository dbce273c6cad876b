"""Rows of one view as Feast's `online_read` answers them: messages by feature name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from yummy_feast.errors import OnlineRequestError, nearest
from yummy_feast.online.layouts.base import Wanted
from yummy_feast.online.retrieval import StoredRow
from yummy_feast.values import kind_of, proto_finisher

if TYPE_CHECKING:
    from feast import FeatureView
    from feast.protos.feast.types.Value_pb2 import Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def features_of(table: FeatureView, requested: Sequence[str] | None = None) -> Wanted:
    """Those of a view's features that are ``requested``, all without. OnlineRequestError for one it does not have."""
    kinds = {field.name: kind_of(field.dtype.to_value_type()).number for field in table.features}
    names = tuple(requested) if requested else tuple(kinds)
    for name in names:
        if name not in kinds:
            raise OnlineRequestError(f"feature view {table.name!r} has no feature {name!r}", hint=nearest(name, kinds))
    return tuple((name, kinds[name]) for name in names)


def as_protos(
    wanted: Wanted, rows: Sequence[StoredRow | None]
) -> list[tuple[datetime | None, dict[str, Value] | None]]:
    """Event timestamp and values (an empty ``Value`` for null); (None, None) where no row is."""
    from feast.protos.feast.types.Value_pb2 import Value

    finishers = [(name, proto_finisher(number)) for name, number in wanted]
    answer: list[tuple[datetime | None, dict[str, Value] | None]] = []
    for row in rows:
        if row is None:
            answer.append((None, None))
            continue
        moment, values = row
        messages = {
            name: Value() if value is None else finish(value)
            for (name, finish), value in zip(finishers, values, strict=True)
        }
        answer.append((_EPOCH + timedelta(microseconds=moment), messages))
    return answer
