"""Opening a feature repository for a command: every way it can be wrong is one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from yummy_feast.errors import ConfigError, YummyError

if TYPE_CHECKING:
    from feast import FeatureStore

# Of which there is nothing to set, and nothing to get wrong.
_STOCK_OFFLINE: Final = ("dask", "file")


def open_feature_store(filename: str) -> FeatureStore:
    """Feast's store for a feature_store.yaml, local or on the web; a path's folder is the repository, of a URL the
    current one is.

    Raises ConfigError that names the file for whatever Feast says about it.
    """
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    from yummy_feast.settings import is_url, load_yaml, read_text

    repo_path = Path.cwd() if is_url(filename) else Path(filename).resolve().parent
    # As Feast does: $NAME and ${NAME} before the YAML is read; ${NAME:-default} is left to our stores.
    document = load_yaml(os.path.expandvars(read_text(filename)), filename, fill=False)
    if not isinstance(document, dict):
        raise ConfigError(f"{filename}: is not a mapping of keys to values", hint="is it a feature_store.yaml?")
    stock = _stock_offline(document)
    if stock:
        # Feast loads a store that is named by its type alone when somebody asks for it: who only serves does without
        # the 27 MB of dask.
        document["offline_store"] = stock
    with _named(filename):
        config = RepoConfig(**document)
        config.repo_path = repo_path
        store = FeatureStore(repo_path=str(repo_path), config=config)
        # Built when they are first read: what is wrong with them belongs to the file, too.
        if not stock:
            _ = config.offline_store
        _ = store.provider
    return store


def _stock_offline(document: dict[str, Any]) -> str | None:
    """The type of Feast's own offline store for files, if that is what is named, without any setting."""
    given = document.get("offline_store", {})
    if not isinstance(given, dict) or given.keys() - {"type"}:
        return None
    kind = given.get("type", "dask")
    return kind if kind in _STOCK_OFFLINE else None


@contextmanager
def _named(filename: str) -> Iterator[None]:
    from feast.errors import FeastError
    from feast.repo_config import FeastConfigError
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{filename}: {key}{': ' if key else ''}{first['msg']}") from None
    except (FeastError, FeastConfigError) as error:
        raise ConfigError(f"{filename}: {' '.join(str(error).split())}") from error
    except YummyError as error:
        # It names the block, perhaps under the file's usual name.
        raise ConfigError(
            f"{filename}: {error.message.removeprefix('feature_store.yaml: ')}", hint=error.hint
        ) from error


@contextmanager
def feast_errors_in_a_line() -> Iterator[None]:
    """Make ConfigError of what Feast raises: about the registry, mostly."""
    from feast.errors import FeastError

    try:
        yield
    except FeastError as error:
        raise ConfigError(" ".join(str(error).split())) from error
