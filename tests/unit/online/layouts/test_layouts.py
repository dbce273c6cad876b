"""The table of layouts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.online.config import YummyOnlineStoreConfig
from yummy_feast.online.layouts import LAYOUTS, layout_of
from yummy_feast.online.layouts.feast import FeastLayout
from yummy_feast.online.layouts.rows import ROWS


def config(version: int = 3, **online: Any) -> Any:
    return SimpleNamespace(online_store=SimpleNamespace(**online), entity_key_serialization_version=version)


def test_every_name_has_its_layout() -> None:
    assert {name: layout_of(config(layout=name)).name for name in LAYOUTS} == {name: name for name in LAYOUTS}
    assert layout_of(config()) is ROWS
    assert layout_of(config(2, layout="feast")) == FeastLayout(2)


def test_the_configuration_takes_each_of_them() -> None:
    for name in LAYOUTS:
        assert YummyOnlineStoreConfig(layout=name).layout == name
    with pytest.raises(ConfigError, match=r"online_store.layout: unknown value 'feats' .did you mean 'feast'"):
        YummyOnlineStoreConfig(layout="feats")
    with pytest.raises(ConfigError, match=r"online_store.layout: unknown value 'row'"):
        layout_of(config(layout="row"))
