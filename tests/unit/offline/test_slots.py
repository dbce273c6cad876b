"""The linear point-in-time pass against a search that a reader can check by eye."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yummy_feast.offline.engines.slots import Slots
from yummy_feast.offline.times import MISSING

NEAR = st.integers(-4, 4)
# Distances this wide do not leave room for a key code, so the rank among the distinct bounds is used instead.
WIDE = st.one_of(NEAR, st.integers(-(2**62), 2**62))


def rows(times):
    entity = st.tuples(st.integers(-1, 2), st.one_of(times, st.just(MISSING)))
    feature = st.tuples(st.integers(-1, 2), st.one_of(times, st.just(MISSING)), st.one_of(times, st.just(MISSING)))
    return st.tuples(st.lists(entity, max_size=8), st.lists(feature, max_size=16), st.integers(0, 16))


def expected(entity, features, *, created, cutoff):
    code, bound = entity
    visible = [
        (time, made if created else 0, row)
        for row, (key, time, made) in enumerate(features)
        if key == code >= 0
        and MISSING not in (bound, time)
        and time <= bound
        and (not cutoff or (made != MISSING and made <= bound))
    ]
    return max(visible)[2] if visible else -1


def resolve(entities, features, split, *, created, cutoff):
    numbers = lambda values: np.array(list(values), np.int64)  # noqa: E731
    slots = Slots(
        numbers(code for code, _ in entities),
        numbers(bound for _, bound in entities),
        with_created=created,
        in_order=not cutoff,
    )
    numbered = [(*feature, row) for row, feature in enumerate(features)]
    for part in (numbered[split:], numbered[:split]):
        times, made = numbers(p[1] for p in part), numbers(p[2] for p in part)
        codes = numbers(-1 if cutoff and p[2] == MISSING else p[0] for p in part)
        visible = np.maximum(times, made) if cutoff else times
        found = slots.locate(codes, times, made if created else None, visible, numbers(p[3] for p in part))
        slots.offer(found)
    return slots.resolve()


@pytest.mark.parametrize(("created", "cutoff"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("times", [NEAR, WIDE], ids=["near", "wide"])
def test_every_entity_row_gets_the_best_visible_row(times, created, cutoff):
    @given(rows(times))
    def check(drawn):
        entities, features, split = drawn
        found, when = resolve(entities, features, split, created=created, cutoff=cutoff)
        want = [expected(entity, features, created=created, cutoff=cutoff) for entity in entities]
        assert found.tolist() == want
        assert [t for t, row in zip(when.tolist(), want, strict=True) if row >= 0] == [
            features[r][1] for r in want if r >= 0
        ]

    check()


def test_no_entity_rows_and_no_features():
    found, _ = resolve([], [(0, 1, 1)], 0, created=True, cutoff=False)
    assert found.tolist() == []
    found, _ = resolve([(0, 5)], [], 0, created=True, cutoff=False)
    assert found.tolist() == [-1]
