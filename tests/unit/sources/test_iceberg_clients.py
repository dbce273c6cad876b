"""What clients of catalogs raise, as errors of ours that name the setting."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from hive_metastore.ttypes import MetaException
from thrift.transport.TTransport import TTransportException

from yummy_feast.errors import SourceReadError
from yummy_feast.sources.iceberg_clients import address_of, answer_of_amazon, client_errors, patient_session, why

GLUE = {"type": "glue", "glue.endpoint": "http://glue:1", "client.region": "north"}
ZONED = "timestamp with local time zone"
HIVE = {"type": "hive", "uri": "thrift://a:1,thrift://b:2"}


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "GetTable")


def glue_client() -> BaseClient:
    keys: dict[str, Any] = {"aws_access_key_id": "who", "aws_secret_access_key": "hush"}
    made: BaseClient = patient_session()["botocore_session"].create_client("glue", region_name="north", **keys)
    return made


def modelled(code: str) -> ClientError:
    """As the client raises a code that its service says it has."""
    error: ClientError = getattr(glue_client().exceptions, code)(refused(code).response, "GetTable")
    assert type(error) is not ClientError
    return error


@pytest.mark.parametrize(
    ("error", "keys", "said"),
    [
        (EndpointConnectionError(endpoint_url="http://glue:1"), GLUE, "glue.endpoint 'http://glue:1' does not answer"),
        (ReadTimeoutError(endpoint_url="x"), {"glue.region": "south"}, "glue.region 'south' does not answer"),
        (requests.ConnectionError("no"), {"uri": "http://me:hush@host/c"}, "uri 'http://host/c' does not answer: no"),
        (requests.Timeout("late"), {"uri": "http://host"}, "uri 'http://host' does not answer: late"),
        (TTransportException(message="no\nmore"), HIVE, "uri 'thrift://a:1,thrift://b:2' does not answer: no"),
        (NoCredentialsError(), {}, "glue does not let us in: Unable to locate credentials (give glue.region"),
        (refused("AccessDeniedException"), GLUE, "glue.endpoint 'http://glue:1' does not let us in"),
        (modelled("AccessDeniedException"), GLUE, "glue.endpoint 'http://glue:1' does not let us in"),
        (refused("ExpiredTokenException"), GLUE, "or the AWS_* environment)"),
        (MetaException(f"type {ZONED}"), HIVE, "takes no such table: MetaException("),
        (MetaException(f"type {ZONED}"), HIVE, "leave out hive.hive2-compatible"),
    ],
)
def test_what_a_setting_mends(error: Exception, keys: dict[str, str], said: str) -> None:
    assert isinstance(error, client_errors())
    kind = "hive" if keys is HIVE else "glue"
    found = why(error, "lake.ns.rows: catalog 'lake'", kind, keys)
    assert isinstance(found, SourceReadError)
    assert str(found).startswith("lake.ns.rows: catalog 'lake': ")
    assert said in str(found)
    assert "\n" not in str(found)
    assert "hush" not in str(found)


@pytest.mark.parametrize("error", [refused("ThrottlingException"), MetaException("busy"), requests.HTTPError("500")])
def test_what_no_setting_mends(error: Exception) -> None:
    assert isinstance(error, client_errors())
    assert why(error, "x", "glue", GLUE) is None


def test_what_amazon_answered() -> None:
    for error in (refused("ThrottlingException"), modelled("ThrottlingException")):
        assert answer_of_amazon(error) == error.response
    assert answer_of_amazon(NoCredentialsError()) is None
    assert answer_of_amazon(MetaException("busy")) is None


def test_sessions_share_what_they_read_of_services() -> None:
    one, other = (patient_session()["botocore_session"] for _ in range(2))
    assert one is not other
    assert one.get_component("data_loader") is other.get_component("data_loader")
    assert one.get_default_client_config().connect_timeout == 5


@pytest.mark.parametrize(
    ("kind", "uri", "shown"),
    [
        ("sql", "postgresql+psycopg2://db:5432/name?user=u&password=HUSH", "postgresql+psycopg2://db:5432"),
        ("sql", "postgresql+psycopg2://u:HU/SH@db/name", "postgresql+psycopg2://db"),
        ("sql", "postgresql://u:HU#SH@db/name", "postgresql://..."),
        ("sql", "postgresql://u:HUSH[@db/name", "postgresql://db"),
        ("sql", "postgresql://u:HU@SH@db/name", "postgresql://db"),
        ("sql", "postgresql://u:HU?SH@db/name", "postgresql://..."),
        ("sql", "postgresql://u:x@db/name?password=HU@SH", "postgresql://..."),
        ("sql", "postgresql:///?host=db&password=HUSH", "postgresql://"),
        ("sql", "mssql://db;password=HUSH", "mssql://db"),
        ("sql", "u:HUSH@db/name", "db"),
        ("sql", "sqlite:////lake/catalog.db?timeout=3", "sqlite:////lake/catalog.db"),
        ("rest", "https://u:HU/SH@host:8181/api/lake?token=HUSH", "https://host:8181/api/lake"),
        ("rest", "http://[::1]:8181/api", "http://[::1]:8181/api"),
        ("rest", "http://u:HU[SH@host", "http://host"),
    ],
)
def test_no_password_is_in_an_address(kind: str, uri: str, shown: str) -> None:
    assert address_of(kind, {"uri": uri}) == f"uri '{shown}'"
