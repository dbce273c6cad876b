"""What a session that runs is told, on a stand-in for one."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from yummy_feast.spark.amazon import PROVIDER as PROVIDER_OF_JVM
from yummy_feast.spark.conf import SparkConf
from yummy_feast.spark.settings import HIDDEN, SparkSettings
from yummy_feast.spark.telling import Change, tell

PROVIDER = "fs.s3a.aws.credentials.provider"
SIMPLE = "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
AZURE = "fs.azure.account.key.me.dfs.core.windows.net"
KEYS = {"key": "who", "secret": "hush"}
ICEBERG = "org.apache.iceberg.spark.SparkCatalog"
LAKE = {"spark.sql.catalog.lake": ICEBERG, "spark.sql.catalog.lake.uri": "ours"}


class Conf:
    """The settings of a session, in the order in which they came."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = dict(values)

    def get(self, key: str, default: str | None = None) -> str | None:
        usual = "(?i)url" if key == "spark.sql.redaction.options.regex" else default
        return self.values.get(key, usual)

    def set(self, key: str, value: str) -> None:
        self.values.pop(key, None)
        self.values[key] = value

    def unset(self, key: str) -> None:
        self.values.pop(key, None)


class Hadoop:
    """Hadoop's configuration: per key a value and where it is from."""

    def __init__(self, values: dict[str, tuple[str, str]]) -> None:
        self.values = {PROVIDER: ("Theirs", "core-default.xml"), **values}

    def get(self, key: str) -> str | None:
        return self.values.get(key, (None, ""))[0]

    def getPropertySources(self, key: str) -> list[str] | None:  # noqa: N802 - Hadoop's name
        return [self.values[key][1]] if key in self.values else None


class Session:
    """As much of a session as is asked for settings."""

    def __init__(self, values: dict[str, str] | None = None, **hadoop: tuple[str, str]) -> None:
        self.conf = Conf(values or {})
        self.resets = 0
        found = Hadoop({key.replace("_", "."): value for key, value in hadoop.items()})
        self.sparkContext = SimpleNamespace(_jsc=SimpleNamespace(hadoopConfiguration=lambda: found))
        state = SimpleNamespace(catalogManager=lambda: SimpleNamespace(reset=self._reset))
        self._jsparkSession = SimpleNamespace(sessionState=lambda: state)

    def _reset(self) -> None:
        self.resets += 1

    @property
    def told(self) -> dict[str, str]:
        """All but what hides credentials."""
        return {key: value for key, value in self.conf.values.items() if "redaction" not in key}


class RemoteSession(Session):
    """One of Spark Connect."""


RemoteSession.__module__ = "pyspark.sql.connect.session"


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


def told(
    session: Any,
    running: dict[str, str],
    held: dict[str, Change] | None = None,
    began: dict[str, str] | None = None,
    **settings: Any,
) -> dict[str, Change]:
    held = {} if held is None else held
    tell(session, SparkConf({}, running), SparkSettings(**settings), held, began)
    return held


def s3(**options: str) -> dict[str, Any]:
    """Settings, and what follows from them."""
    from yummy_feast.spark.stores import hadoop_options

    return {"running": hadoop_options(options), "storage_options": options}


@pytest.mark.parametrize(
    "session",
    [
        Session({f"spark.hadoop.{PROVIDER}": SIMPLE}),
        Session({"spark.hadoop.fs.s3a.access.key": "theirs"}),
        Session(fs_s3a_access_key=("theirs", "programmatically")),
        Session(fs_s3a_access_key=("theirs", "core-site.xml")),
        Session(),
    ],
)
def test_who_a_session_of_others_is_at_s3_stays(session: Session) -> None:
    before = dict(session.told)
    told(session, **s3())
    assert set(session.told) - set(before) == {"fs.s3.impl", "fs.s3n.impl"}


@pytest.mark.parametrize(
    "session",
    [
        Session({f"spark.hadoop.{PROVIDER}": SIMPLE}),
        Session({"spark.hadoop.fs.s3a.access.key": "theirs"}),
        Session(fs_s3a_session_token=("theirs", "programmatically")),
    ],
)
def test_credentials_are_one_thing(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        told(session, **s3(**KEYS, endpoint="http://ours"))
    assert session.told["fs.s3a.endpoint"] == "http://ours"
    assert session.told["fs.s3a.path.style.access"] == "true"
    assert not {PROVIDER, "fs.s3a.access.key", "fs.s3a.secret.key"} & session.told.keys()
    assert "already has its own fs.s3a." in caplog.text
    assert "theirs" not in caplog.text


def test_what_nobody_chose_is_no_obstacle() -> None:
    session = Session(
        fs_s3a_endpoint=("s3.amazonaws.com", "Set by Spark"),
        fs_s3a_access_key=("theirs", "Set by Spark on here from AWS_ACCESS_KEY_ID"),
    )
    told(session, **s3(**KEYS, endpoint="http://ours"))
    assert session.told["fs.s3a.endpoint"] == "http://ours"
    assert session.told["fs.s3a.secret.key"] == "hush"
    # How long they wait is their affair.
    assert "fs.s3a.retry.limit" not in session.told


def test_a_server_of_connect_is_left_alone_where_nothing_names_s3() -> None:
    session = RemoteSession()
    told(session, **s3())
    assert session.told == {}
    told(session, **s3(region="eu"))
    assert session.told["fs.s3a.endpoint.region"] == "eu"


def test_a_session_of_our_own_is_told_all_but_keeps_to_the_sites_defaults() -> None:
    session = Session(fs_s3a_endpoint=("http://site", "core-site.xml"))
    told(session, **s3(endpoint="http://ours"), began={})
    assert session.told["fs.s3a.endpoint"] == "http://ours"
    assert session.told["fs.s3a.retry.limit"] == "4"
    site = Session({"spark.hadoop.fs.s3a.access.key": "site", "spark.hadoop.fs.s3a.retry.limit": "9"})
    told(site, **s3(), began={})
    assert PROVIDER not in site.told
    assert "fs.s3a.retry.limit" not in site.told
    # What we began it with ourselves is none of others'.
    ours = {"spark.hadoop.fs.s3a.access.key": "old"}
    session = Session(ours)
    told(session, **s3(), began=ours)
    assert PROVIDER in session.told


@pytest.mark.parametrize("remote", [False, True])
def test_another_configuration_leaves_what_others_set(remote: bool) -> None:
    theirs = {"spark.sql.catalog.lake": ICEBERG, "spark.sql.catalog.lake.uri": "theirs", "fs.s3a.endpoint": "theirs"}
    session = (RemoteSession if remote else Session)(theirs)
    held = told(session, {**LAKE, **s3(endpoint="ours")["running"]}, storage_options={"endpoint": "ours"})
    told(session, {}, held)
    assert session.told == theirs


def test_a_catalog_of_others_is_not_mixed_with_ours(caplog: pytest.LogCaptureFixture) -> None:
    session = Session({"spark.sql.catalog.lake": "their.Catalog"})
    held = told(session, {**LAKE, "spark.sql.catalog.lakes.uri": "x"})
    assert session.told == {"spark.sql.catalog.lake": "their.Catalog", "spark.sql.catalog.lakes.uri": "x"}
    assert "spark.sql.catalog.lake.uri" not in held
    assert "already has its own spark.sql.catalog.lake: that stays" in caplog.text
    # Unless users say so.
    told(session, LAKE, held, conf={"spark.sql.catalog.lake": ICEBERG})
    assert session.told == LAKE


def test_a_catalog_that_others_took_over_is_theirs() -> None:
    session = Session()
    held = told(session, LAKE)
    assert session.told == LAKE
    session.conf.set("spark.sql.catalog.lake", "their.Catalog")
    told(session, {**LAKE, "spark.sql.catalog.lake.uri": "other"}, held)
    assert session.told == {"spark.sql.catalog.lake": "their.Catalog"}


def test_what_was_there_before_comes_back() -> None:
    session = Session({"spark.sql.shuffle.partitions": "5", "spark.sql.ansi.enabled": "true"})
    own = {"spark.sql.shuffle.partitions": "7", "spark.sql.ansi.enabled": "false"}
    held = told(session, own, conf=own)
    again = {"spark.sql.shuffle.partitions": "8", "spark.sql.ansi.enabled": "false"}
    told(session, again, held, conf=again)
    assert session.told == again
    # Changed since: theirs from now on.
    session.conf.set("spark.sql.ansi.enabled", "maybe")
    told(session, {}, held)
    assert session.told == {"spark.sql.shuffle.partitions": "5", "spark.sql.ansi.enabled": "maybe"}


def test_catalogs_are_opened_anew_if_they_changed() -> None:
    session = Session()
    held = told(session, LAKE)
    assert session.resets == 0
    told(session, LAKE, held)
    assert session.resets == 0
    told(session, {**LAKE, "spark.sql.catalog.lake.uri": "other"}, held)
    assert session.resets == 1
    told(session, {}, held)
    assert session.resets == 2


def test_what_was_set_is_known_though_spark_refuses_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    held: dict[str, Change] = {}

    def refuse(key: str, value: str) -> None:
        if key.endswith(".uri"):
            raise OSError(key)
        session.conf.values[key] = value

    with monkeypatch.context() as context:
        context.setattr(session.conf, "set", refuse)
        with pytest.raises(OSError, match="uri"):
            told(session, LAKE, held)
    told(session, LAKE, held)
    assert session.told == LAKE


@pytest.mark.parametrize("own", [False, True])
def test_credentials_are_hidden_before_they_come(own: bool) -> None:
    key = "spark.sql.redaction.options.regex"
    mine = {key: "mine"} if own else {}
    session = Session()
    held = told(session, {AZURE: "hush", **mine}, conf=mine)
    assert [*session.conf.values] == [key, AZURE]
    assert session.conf.values[key] == f"(?:{'mine' if own else '(?i)url'})|(?:{HIDDEN})"
    before = session.conf.values[key]
    told(session, {AZURE: "hush2"}, held)
    assert session.conf.values[key] == before
    started = Session({"spark.redaction.regex": HIDDEN})
    told(started, {AZURE: "hush"}, began={})
    assert key not in started.conf.values


@pytest.mark.parametrize("has_it", [False, True])
def test_the_light_client_is_for_those_who_have_it(has_it: bool) -> None:
    key = "spark.sql.catalog.lake.http-client.type"
    wanted = {**LAKE, key: "urlconnection"}
    utils = SimpleNamespace(classIsLoadable=lambda name: has_it and name.endswith(".UrlConnectionHttpClient"))
    session: Any = Session()
    packages = SimpleNamespace(spark=SimpleNamespace(util=SimpleNamespace(Utils=utils)))
    session._jvm = SimpleNamespace(org=SimpleNamespace(apache=packages))
    held = told(session, wanted)
    assert session.told == (wanted if has_it else LAKE)
    # What a user wrote stays, and so does all on a server whose jars nobody can look at.
    told(session, {**LAKE, key: "apache"}, held)
    assert session.told[key] == "apache"
    remote = RemoteSession()
    told(remote, {**wanted, "spark.sql.catalog.lake.client.credentials-provider": PROVIDER_OF_JVM})
    assert remote.told == wanted
