"""A repository whose online store is Feast's own Redis store, seen as one of ours in layout `feast`.

Only the configuration is translated: the rows are Feast's own bytes, which that layout reads and writes.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, cast

from feast.infra.online_stores.redis import RedisOnlineStoreConfig

from yummy_feast.errors import ConfigError
from yummy_feast.online.config import YummyOnlineStoreConfig

if TYPE_CHECKING:
    from feast import RepoConfig


def as_ours(config: RepoConfig) -> RepoConfig:
    """``config`` itself where its online store is ours; for Feast's Redis store, a copy whose online store is ours.

    Raises ConfigError for any other online store, and for keys of Feast's that cannot be right.
    """
    online = config.online_store
    if isinstance(online, YummyOnlineStoreConfig):
        return config
    if not isinstance(online, RedisOnlineStoreConfig):
        raise ConfigError(
            f"online_store.type is {getattr(online, 'type', online)!r}: only rows in Redis can be served",
            hint="set it to yummy_feast.YummyOnlineStore or redis; `feast serve` serves other stores",
        )
    ours: Any = copy(config)
    # Where Feast keeps the store's configuration once it has read it.
    ours._online_store = from_stock(online)
    return cast("RepoConfig", ours)


def from_stock(stock: RedisOnlineStoreConfig) -> YummyOnlineStoreConfig:
    """The keys of Feast's Redis store as ours, in layout `feast`.

    ``client`` is the one that says nothing here: it names the library that Feast reads with. Raises ConfigError.
    """
    return YummyOnlineStoreConfig(
        layout="feast",
        # Feast takes the text as it is: what looks like a variable of ours is none.
        connection_string=stock.connection_string.replace("${", "$${"),
        redis_type=stock.redis_type.value,
        sentinel_master=stock.sentinel_master,
        key_ttl_seconds=stock.key_ttl_seconds,
        full_scan_for_deletion=stock.full_scan_for_deletion,
        skip_dedup=stock.skip_dedup,
    )
