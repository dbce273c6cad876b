"""Iceberg catalogs: opened with pyiceberg's own keys and our storage options behind them, their errors as ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from yummy_feast.errors import (
    ConfigError,
    MissingExtraError,
    SourceNotFoundError,
    SourceReadError,
    YummyError,
    first_line,
)
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.files import locate
from yummy_feast.sources.object_store import S3Settings
from yummy_feast.sources.store_errors import FAILURES, UNKNOWN, Credentials, store_error
from yummy_feast.sources.stores import pyiceberg_properties, settings_of

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

PY_IO = {"py-io-impl": "yummy_feast.sources.iceberg_io.StoreFileIO"}
_OF_AWS = ("glue", "dynamodb")
_STORES = ("s3.", "gcs.", "adls.", "client.")
# What pyarrow's errors have in them, by the store that they come from.
_STORE_OF = {"AWS Error": "s3://", "Azure Error": "abfss://", "Azure4Core": "abfss://", "google::cloud": "gs://"}
_NUMBERS = ("glue.max-retries",)
_CLIENTS_APART = ("hive", "glue", "dynamodb", "bigquery")
"""Kinds whose clients are no part of the extra."""
# What the clients of catalogs raise beside pyiceberg's own errors, by the module that has been imported if they can.
_CLIENT_ERRORS = {
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "requests": ("RequestException",),
    "sqlalchemy.exc": ("SQLAlchemyError",),
    "thrift.Thrift": ("TException",),
}


@contextmanager
def opened_catalog(context: SourceContext, name: str) -> Iterator[Catalog]:
    """The catalog of that name among ``context.catalogs``; closed at the end.

    ConfigError for keys that pyiceberg cannot make a catalog of, SourceNotFoundError for a SQLite file that is not
    there, MissingExtraError for a kind whose client is not installed. Other errors are the clients' own.
    """
    from pyiceberg.catalog import load_catalog

    properties = catalog_properties(context, name)
    try:
        catalog = load_catalog(name, **{**properties, **_numbers(name, properties)})
    except ValueError as error:
        if isinstance(error, client_errors()):
            raise
        raise ConfigError(
            f"catalog '{name}': {first_line(error)}", hint="see pyiceberg's own keys: type, uri, warehouse"
        ) from error
    with catalog:
        yield catalog


def catalog_properties(context: SourceContext, name: str) -> dict[str, str]:
    """The catalog's keys, with local paths resolved against the repo and the storage options behind them.

    SourceNotFoundError for a SQLite file that is not there: SQLAlchemy would make an empty one.
    """
    given = context.catalogs[name]
    kind = catalog_kind(given)
    properties = {**PY_IO, **pyiceberg_properties(context.storage_options), **given}
    if kind in _OF_AWS:
        properties = {**_aws_client(context.storage_options), **properties}
    uri = properties.get("uri", "")
    if uri.startswith("sqlite:///"):
        database = locate(uri.removeprefix("sqlite:///"), context)
        if not database.exists():
            raise SourceNotFoundError(f"catalog '{name}': no database {database.path}", hint="is `uri` right?")
        properties["uri"] = f"sqlite:///{database.path}"
    warehouse = properties.get("warehouse", "")
    if warehouse and "://" not in warehouse and kind == "sql":
        properties["warehouse"] = f"file://{locate(warehouse, context).path}"
    return properties


def catalog_kind(keys: Mapping[str, str]) -> str:
    """``sql``, ``rest``, ``hive``, ``glue`` and so on: what ``type`` says, else what ``uri`` begins with."""
    if "type" in keys:
        return keys["type"].lower()
    scheme = keys.get("uri", "").partition("://")[0].lower()
    return {"http": "rest", "https": "rest", "thrift": "hive"}.get(scheme, "sql")


def _aws_client(options: Mapping[str, str]) -> dict[str, str]:
    """Who we are at Amazon. An endpoint in the options means another S3 than Amazon's, whose keys are not for Glue."""
    settings = S3Settings.of(options)
    if settings.endpoint is not None:
        return {} if settings.region is None else {"client.region": settings.region}
    pairs = {
        "client.region": settings.region,
        "client.access-key-id": settings.key,
        "client.secret-access-key": settings.secret,
        "client.session-token": settings.token,
    }
    return {name: value for name, value in pairs.items() if value is not None}


def opened_otherwise(properties: Mapping[str, str], options: Mapping[str, str]) -> bool:
    """Whether files of a table with these properties are opened in another way than the storage options say: a catalog
    may have such keys of its own, or hand out credentials.
    """
    usual = {**_aws_client(options), **pyiceberg_properties(options)}
    return any(usual.get(name) != value for name, value in properties.items() if name.startswith(_STORES))


def _numbers(name: str, properties: Mapping[str, str]) -> dict[str, Any]:
    """What pyiceberg hands on to Amazon's client as it is, where text is no number."""
    out = {}
    for key in _NUMBERS:
        text = properties.get(key)
        if text is None:
            continue
        if not text.isdecimal():
            raise ConfigError(f"catalog '{name}': {key} is '{text}'", hint="give a whole number, 0 or more")
        out[key] = int(text)
    return out


def client_errors() -> tuple[type[Exception], ...]:
    """What the catalogs' clients raise, of those that were imported: no other can have been used."""
    return tuple(
        getattr(sys.modules[module], name)
        for module, names in _CLIENT_ERRORS.items()
        if module in sys.modules
        for name in names
    )


@contextmanager
def iceberg_errors(place: str, options: Mapping[str, str]) -> Iterator[None]:
    """Turn pyiceberg's errors, those of catalogs' clients and those of stores into ours, with the table's name.

    options: ``storage_options``, to say which of them a store refuses.
    """
    try:
        import pyiceberg.exceptions as exceptions
    except ImportError as error:
        raise MissingExtraError.of("iceberg", "IcebergSource") from error
    try:
        yield
    except (exceptions.NoSuchTableError, exceptions.NoSuchNamespaceError, exceptions.NoSuchIdentifierError) as error:
        raise SourceNotFoundError(f"{place}: no such Iceberg table ({first_line(error)})") from error
    except (exceptions.CommitFailedException, exceptions.RESTError, exceptions.DynamoDbError) as error:
        raise _unreachable(place, error) from error
    except exceptions.NotInstalledError as error:
        text = first_line(error)
        if any(client in text.lower() for client in _CLIENTS_APART):
            # The text ends in the command that mends it.
            raise MissingExtraError(f"{place}: {text}") from error
        raise MissingExtraError.of("iceberg", f"{place} ({text})") from error
    except FileNotFoundError as error:
        if isinstance(error, YummyError):
            raise
        raise SourceReadError(
            f"{place}: the table names a file that is missing: {first_line(error)}", hint="restore it or roll back"
        ) from error
    except client_errors() as error:
        raise _unreachable(place, error) from error
    except FAILURES as error:
        if isinstance(error, YummyError):
            raise
        raise store_error(place, error, _shown(error, options), "is the store reachable?") from error


def _shown(error: BaseException, options: Mapping[str, str]) -> Credentials:
    """The credentials of the store that pyarrow has the error from."""
    uri = next((uri for words, uri in _STORE_OF.items() if words in str(error)), None)
    try:
        return UNKNOWN if uri is None else settings_of(uri, options).credentials
    except ConfigError:
        return UNKNOWN


def _unreachable(place: str, error: BaseException) -> SourceReadError:
    return SourceReadError(f"{place}: {first_line(error)}", hint="is the catalog reachable, and not busy?")
