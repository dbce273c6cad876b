"""Requests for online features that Feast's own server answers, drawn at random and the same in every run."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from tests.feast.served import definitions as world

DRIVERS = (0, 1, 2, 3, -1, 2**63 - 1, 77, 10**12)
CUSTOMERS = ("a", "b", "c", "", "žluťoučký kůň", "nobody", "a" * 300)
POOLS: dict[str, tuple[Any, ...]] = {
    "driver_id": DRIVERS,
    "from_id": DRIVERS,
    "to_id": DRIVERS,
    "customer_id": CUSTOMERS,
    "payer": CUSTOMERS,
    "hour_start": (7200, 0, -3600, 5),
    "small_id": (-5, 5, 9, -(2**31)),
    "bonus": (1.5, -0.25, 1e300, 0.0),
    "word": ("", "na", "č"),
    "times": (0, 1, 3),
}
"""Request column -> values: of rows that are there, and of some that are not."""

VIEWS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    each.name: (tuple(field.name for field in each.features), tuple(key.name for key in each.entity_columns))
    for each in (
        world.everything, world.edges, world.stats, world.more, world.pairs, world.customers, world.hours, world.smalls,
    )
} | {"world": (("total", "motto"), ())}  # fmt: skip
"""View -> its features, its join keys. A key of bytes cannot be sent to Feast's server."""
ON_DEMAND: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plus": (("conv_plus", "is_busy"), ("driver_id", "bonus")),
    "times": (("conv_times", "loud"), ("driver_id", "bonus")),
    "single": (("twice",), ("driver_id",)),
    "said": (("said", "lengths"), ("word", "times")),
    "worth": (("worth",), ("driver_id", "customer_id")),
}
SERVICES: dict[str, tuple[str, ...]] = {
    "mixed": ("driver_id", "customer_id", "bonus"),
    "aliased": ("from_id", "to_id"),
    "twice_aliased": ("from_id", "payer", "to_id", "customer_id"),
    "whole": ("driver_id",),
    "computed": ("driver_id", "bonus", "word", "times"),
    "renamed": ("customer_id",),
}
"""Service -> the columns it needs."""
SIZES = (1, 1, 1, 2, 3, 5, 11, 40)
Body = dict[str, Any]


def of_side(seed: int, count: int) -> Iterator[Body]:
    """``count`` requests to the repository `side`."""
    random = Random(seed)
    for number in range(count):
        if number % 3 == 0:
            service = random.choice(list(SERVICES))
            body: Body = {"feature_service": service}
            needed = list(SERVICES[service])
        else:
            body, needed = _references(random)
        if random.random() < 0.2:
            body["include_feature_view_version_metadata"] = True
        yield _with_rows(random, body, needed)


def _references(random: Random) -> tuple[Body, list[str]]:
    """One to four views, some features of each, in any order."""
    full = random.random() < 0.3
    known = VIEWS | ON_DEMAND
    chosen = random.sample(list(known), random.choice((1, 1, 2, 3, 4)))
    features, needed, names = [], [], set()
    for view in chosen:
        of_view, keys = known[view]
        for name in random.sample(of_view, random.randint(1, min(len(of_view), 12))):
            # Feast refuses two features of one name, unless the view's name stands in front.
            if full or name not in names:
                names.add(name)
                features.append(f"{view}:{name}")
                needed += keys
    random.shuffle(features)
    return {"features": features, "full_feature_names": full}, list(dict.fromkeys(needed))


def _with_rows(random: Random, body: Body, needed: list[str]) -> Body:
    # A view without entities needs no column, but Feast needs to know how many rows are meant.
    columns = needed or ["driver_id"]
    random.shuffle(columns)
    size = random.choice(SIZES)
    entities = {name: [random.choice(POOLS[name]) for _ in range(size)] for name in columns}
    if random.random() < 0.1:
        # Entities' names in the place of their join keys, which Feast calls deprecated.
        entities = {
            {"driver_id": "driver", "customer_id": "customer"}.get(name, name): v for name, v in entities.items()
        }
    if random.random() < 0.08:
        entities["nobody_uses_this"] = [random.choice((1, 0.5, "x", True))] * size
    if random.random() < 0.08 and "small_id" not in entities:
        entities["small_id"] = [random.choice(POOLS["small_id"]) for _ in range(size)]
    return {**body, "entities": entities}


def of_versions(seed: int, count: int) -> Iterator[Body]:
    """``count`` requests to the repository `versions`."""
    random = Random(seed)
    grown = ("amount", "tip", "paid_by")
    known = {"fares": grown, "fares@latest": grown, "shops": ("rank",), "shops@v0": ("rank",)}
    known |= {f"fares@v{number}": grown[: number + 1] for number in range(3)}
    for _ in range(count):
        full = random.random() < 0.6
        chosen = random.sample(list(known), random.randint(1, 3))
        if "fares" in chosen and "fares@latest" in chosen:
            # The same by another name.
            chosen.remove("fares@latest")
        features: dict[str, str] = {}
        for view in chosen:
            for name in random.sample(known[view], random.randint(1, len(known[view]))):
                features.setdefault(f"{view}:{name}" if full else name, f"{view}:{name}")
        drivers = [random.choice((0, 1, 2, 9)) for _ in range(random.choice((1, 2, 6)))]
        yield {
            "features": list(features.values()),
            "entities": {"driver_id": drivers},
            "full_feature_names": full,
            "include_feature_view_version_metadata": random.random() < 0.5,
        }
