"""Iceberg catalogs: opened with pyiceberg's own keys and our storage options behind them, their errors as ours."""

from __future__ import annotations

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
    unsigned,
)
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.files import locate
from yummy_feast.sources.iceberg_clients import client_errors, patient_session, why
from yummy_feast.sources.object_store import S3Settings, split_endpoint
from yummy_feast.sources.store_errors import FAILURES, UNKNOWN, Credentials, store_error
from yummy_feast.sources.stores import pyiceberg_properties, settings_of

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

PY_IO = {"py-io-impl": "yummy_feast.sources.iceberg_io.StoreFileIO"}
OF_AMAZON = ("glue", "dynamodb")
"""Kinds of catalogs."""
_WHO = ("region", "access-key-id", "secret-access-key", "session-token")
_OWN = ("access-key-id", "profile-name")
"""With one of these a catalog says who you are there."""
_STORES = ("s3.", "gcs.", "adls.", "client.")
# What pyarrow's errors have in them, by the store that they come from.
_STORE_OF = {"AWS Error": "s3://", "Azure Error": "abfss://", "Azure4Core": "abfss://", "google::cloud": "gs://"}
_NUMBERS = ("glue.max-retries",)
_RETRIES = 3
"""Of Glue, as Amazon's own clients have it; pyiceberg's 10 take minutes to say that a server is away."""
_CLIENTS_APART = ("glue", "dynamodb", "bigquery")
"""Kinds whose clients are no part of our extras."""


@contextmanager
def opened_catalog(context: SourceContext, name: str, place: str) -> Iterator[Catalog]:
    """The catalog of that name among ``context.catalogs``; closed at the end. place: what is looked for, for people.

    ConfigError for keys that pyiceberg cannot make a catalog of, SourceNotFoundError for a SQLite file that is not
    there, MissingExtraError for a kind whose client is not installed, SourceReadError for a server that does not answer
    or does not let us in. Other errors are the clients' own.
    """
    properties = catalog_properties(context, name)
    try:
        with _loaded(name, properties) as catalog:
            yield catalog
    except client_errors() as error:
        told = why(error, f"{place}: catalog '{name}'", catalog_kind(properties), properties)
        if told is None:
            raise
        raise told from error


def _loaded(name: str, properties: Mapping[str, str]) -> Catalog:
    try:
        return _opened(name, catalog_kind(properties), properties)
    except ValueError as error:
        if isinstance(error, client_errors()):
            raise
        raise ConfigError(
            f"catalog '{name}': {first_line(error)}", hint="see pyiceberg's own keys: type, uri, warehouse"
        ) from error


def _opened(name: str, kind: str, properties: Mapping[str, str]) -> Catalog:
    from pyiceberg.catalog import load_catalog

    if kind == "hive" and "py-catalog-impl" not in properties:
        try:
            from yummy_feast.sources.iceberg_hive import Metastore
        except ImportError as error:
            raise MissingExtraError.of("hive", f"catalog '{name}' of type hive") from error
        return Metastore(name, **properties)
    given = {**properties, **_numbers(name, properties)}
    if kind not in OF_AMAZON:
        return load_catalog(name, **given)
    catalog = load_catalog(name, **{"glue.max-retries": _RETRIES, **patient_session(), **given})
    # No setting of files, which go to other processes.
    catalog.properties.pop("botocore_session", None)
    return catalog


def catalog_properties(context: SourceContext, name: str) -> dict[str, str]:
    """The catalog's keys, with local paths resolved against the repo and the storage options behind them.

    SourceNotFoundError for a SQLite file that is not there: SQLAlchemy would make an empty one.
    """
    given = context.catalogs[name]
    kind = catalog_kind(given)
    properties = {**PY_IO, **pyiceberg_properties(context.storage_options), **given}
    if kind in OF_AMAZON:
        properties = {**_aws_client(context.storage_options, given), **properties}
    uri = properties.get("uri", "")
    if uri.startswith("sqlite:///"):
        database = locate(uri.removeprefix("sqlite:///"), context)
        if not database.exists():
            raise SourceNotFoundError(f"catalog '{name}': no database {database.path}", hint="is `uri` right?")
        properties["uri"] = f"sqlite:///{database.path}"
    warehouse = properties.get("warehouse", "")
    if warehouse and "://" not in warehouse and kind in ("sql", "hive"):
        properties["warehouse"] = f"file://{locate(warehouse, context).path}"
    return properties


def catalog_kind(keys: Mapping[str, str]) -> str:
    """``sql``, ``rest``, ``hive``, ``glue`` and so on: what ``type`` says, else what ``uri`` begins with."""
    if "type" in keys:
        return keys["type"].lower()
    scheme = keys.get("uri", "").partition("://")[0].lower()
    return {"http": "rest", "https": "rest", "thrift": "hive"}.get(scheme, "sql")


def amazon_keys(keys: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str]:
    """Region and credentials for a catalog of Amazon's, as ``client.*``; the catalog's own keys go first."""
    kind = catalog_kind(keys)
    own = {f"client.{name}": keys.get(f"{kind}.{name}") or keys.get(f"client.{name}") for name in _WHO}
    return {**_aws_client(options, keys), **{name: value for name, value in own.items() if value}}


def _aws_client(options: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, str]:
    """Of these, what the storage options say: nothing of credentials if the catalog has its own, or if the options name
    an endpoint that is neither Amazon's nor the catalog's. The keys of another S3 are not for Glue; a server that
    stands in for Amazon has one address for all.
    """
    found = _as_client(options)
    has_own = any(keys.get(f"{part}.{name}") for part in (catalog_kind(keys), "client") for name in _OWN)
    if has_own or not _is_amazons(S3Settings.of(options).endpoint, keys.get(f"{catalog_kind(keys)}.endpoint")):
        return {name: value for name, value in found.items() if name == "client.region"}
    return found


def _as_client(options: Mapping[str, str]) -> dict[str, str]:
    settings = S3Settings.of(options)
    pairs = zip(_WHO, (settings.region, settings.key, settings.secret, settings.token), strict=True)
    return {f"client.{name}": value for name, value in pairs if value is not None}


def _is_amazons(store: str | None, catalog: str | None) -> bool:
    if store is None:
        return True
    host = split_endpoint(store)[1].partition(":")[0]
    same = catalog is not None and split_endpoint(catalog) == split_endpoint(store)
    return same or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def opened_otherwise(properties: Mapping[str, str], options: Mapping[str, str]) -> bool:
    """Whether files of a table with these properties are opened in another way than the storage options say: a catalog
    may have such keys of its own, or hand out credentials.
    """
    usual = {**_as_client(options), **pyiceberg_properties(options)}
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
    except (
        exceptions.NoSuchTableError,
        exceptions.NoSuchNamespaceError,
        exceptions.NoSuchIdentifierError,
        # What Hive and Glue have under that name is a table of another kind.
        exceptions.NoSuchPropertyException,
    ) as error:
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
        raise store_error(place, error, _shown(error, options), "is the store reachable?") from unsigned(error)


def _shown(error: BaseException, options: Mapping[str, str]) -> Credentials | None:
    """The credentials of the store that pyarrow has the error from; None for the disk of this machine."""
    uri = next((uri for words, uri in _STORE_OF.items() if words in str(error)), None)
    try:
        return None if uri is None else settings_of(uri, options).credentials
    except ConfigError:
        return UNKNOWN


def _unreachable(place: str, error: BaseException) -> SourceReadError:
    return SourceReadError(f"{place}: {first_line(error)}", hint="is the catalog reachable, and not busy?")
