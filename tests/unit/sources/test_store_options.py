"""One dictionary of options, read by three stores."""

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.sources.store_options import SPELLINGS, canonical, read


def test_no_spelling_means_two_things() -> None:
    every = [name for settings in SPELLINGS.values() for names in settings.values() for name in names]
    assert len(every) == len(set(every))
    assert all(name == name.lower() for name in every)


@pytest.mark.parametrize("store", sorted(SPELLINGS))
def test_options_of_other_stores_are_passed_over(store: str) -> None:
    others = [item for item in SPELLINGS if item != store]
    options = {name: "x" for other in others for names in SPELLINGS[other].values() for name in names}
    assert read(store, options) == ({}, {})


def test_own_shared_and_unknown_options() -> None:
    options = {"AWS_REGION": "north", "s3.proxy-uri": "p", "timeout": "5s", "adls.token": "other"}
    assert read("s3", options) == ({"region": "north"}, {"s3.proxy-uri": "p", "timeout": "5s"})
    assert read("azure", options) == ({}, {"timeout": "5s", "adls.token": "other"})
    assert canonical("s3", "Endpoint_URL") == "endpoint"
    for store in SPELLINGS:
        with pytest.raises(ConfigError, match="'regoin'"):
            read(store, {"regoin": "x"})
