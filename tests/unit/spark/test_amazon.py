"""Who Spark's catalogs of Amazon's are asked as; nothing of it is among the settings of a session."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.spark.amazon import amazon_conf, give, system_properties

STORE = {"region": "north", "key": "who", "secret": "hush"}
OWN = {"glue.access-key-id": "glue-who", "glue.secret-access-key": "glue-hush"}
KEYS = {"aws.accessKeyId": "who", "aws.secretAccessKey": "hush"}
PROVIDER = "software.amazon.awssdk.auth.credentials.SystemPropertyCredentialsProvider"


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION", "DEFAULT_REGION", "ENDPOINT_URL", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)


class Jvm:
    """As much of a session as is asked for the system properties of its JVM."""

    def __init__(self, **properties: str) -> None:
        self.properties = {name.replace("_", "."): value for name, value in properties.items()}
        self._jvm = self.java = self.lang = self.System = self

    def getProperty(self, name: str) -> str | None:  # noqa: N802 - Java's name
        return self.properties.get(name)

    def setProperty(self, name: str, value: str) -> None:  # noqa: N802 - Java's name
        self.properties[name] = value

    def clearProperty(self, name: str) -> None:  # noqa: N802 - Java's name
        del self.properties[name]


class Session:
    """One of those of a JVM."""

    def __init__(self, jvm: Jvm) -> None:
        self._jvm = jvm


def conf(keys: dict[str, str], options: dict[str, str] | None = None) -> dict[str, str]:
    found = amazon_conf("lake", {"type": "glue", **keys}, options or {})
    assert found.pop("http-client.type") == "urlconnection"
    return found


def properties(options: dict[str, str], **catalogs: dict[str, str]) -> dict[str, str]:
    return system_properties({name: {"type": "glue", **keys} for name, keys in catalogs.items()}, options)


def test_region_and_who_to_be_without_a_credential() -> None:
    assert conf({}) == {}
    assert conf({}, STORE) == {"client.region": "north", "client.credentials-provider": PROVIDER}
    found = conf({**OWN, "glue.region": "south", "glue.endpoint": "http://glue", "glue.max-retries": "1"}, STORE)
    assert found == {
        "glue.endpoint": "http://glue",
        "client.region": "south",
        "client.credentials-provider": PROVIDER,
    }
    # The keys of another S3 are not Amazon's.
    assert conf({}, {**STORE, "endpoint": "http://minio:9000"}) == {"client.region": "north"}


def test_own_ways_stay() -> None:
    own = {"client.credentials-provider": "my.Provider", "client.credentials-provider.how": "so"}
    assert conf({**own, **OWN}) == own
    assert properties({}, lake={**own, **OWN}) == {}
    role = {"client.factory": "my.Factory", "client.assume-role.arn": "arn:x"}
    assert conf(role, STORE) == {**role, "client.region": "north"}
    assert amazon_conf("lake", {"type": "glue", "http-client.type": "apache"}, {})["http-client.type"] == "apache"


@pytest.mark.parametrize("options", [{}, STORE])
@pytest.mark.parametrize("field", ["glue.profile-name", "client.profile-name"])
def test_a_profile_must_reach_both_engines(
    monkeypatch: pytest.MonkeyPatch, field: str, options: dict[str, str]
) -> None:
    """It goes before the keys of the stores."""
    with pytest.raises(ConfigError, match=rf"catalog 'lake': {field} is 'me', .*AWS_PROFILE=me"):
        conf({field: "me"}, options)
    monkeypatch.setenv("AWS_PROFILE", "me")
    assert conf({field: "me"}, options) == ({"client.region": "north"} if options else {})
    assert properties(options, lake={field: "me"}) == {}


def test_credentials_are_properties_of_the_jvm() -> None:
    assert properties({**STORE, "token": "t"}, lake={}) == {
        "aws.accessKeyId": "who",
        "aws.secretAccessKey": "hush",
        "aws.sessionToken": "t",
    }
    # A token belongs to its key.
    assert "aws.sessionToken" not in properties({**STORE, "token": "t"}, lake=OWN)
    assert properties({}, lake={}) == {}
    assert system_properties({"db": {"type": "sql", "uri": "sqlite://"}}, STORE) == {}
    assert properties({}, one=OWN, same=OWN)["aws.accessKeyId"] == "glue-who"


@pytest.mark.parametrize("options", [STORE, {}])
def test_there_is_one_set_for_all_catalogs(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="catalogs 'a' and 'b' have other credentials") as caught:
        properties(options, a=OWN, b={})
    assert "hush" not in str(caught.value)


def test_what_was_given_is_taken_back() -> None:
    jvm: Any = Jvm(other="x")
    assert give(jvm, {**KEYS, "aws.sessionToken": "t"})
    assert give(jvm, {**KEYS, "aws.accessKeyId": "me"})
    assert jvm.properties == {"other": "x", **KEYS, "aws.accessKeyId": "me"}
    assert not give(jvm, {**KEYS, "aws.accessKeyId": "me"})
    assert give(jvm, {})
    assert jvm.properties == {"other": "x"}


def test_a_jvm_has_it_for_all_of_its_sessions(caplog: pytest.LogCaptureFixture) -> None:
    """It stays when a session stops, and the next one may have other keys, or none."""
    jvm = Jvm()
    one, other, last = (Session(jvm) for _ in range(3))
    give(one, KEYS)
    give(other, {"aws.accessKeyId": "new", "aws.secretAccessKey": "rotated"})
    assert jvm.properties == {"aws.accessKeyId": "new", "aws.secretAccessKey": "rotated"}
    give(last, {})
    assert jvm.properties == {}
    assert caplog.text == ""


def test_another_jvm_has_nothing_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    give(Jvm(), KEYS)
    after: Any = Jvm(aws_accessKeyId="who")
    give(after, {"aws.accessKeyId": "me"})
    assert after.properties == {"aws.accessKeyId": "who"}
    assert "its own aws.accessKeyId" in caplog.text


def test_what_others_have_set_stays(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    jvm: Any = Jvm(aws_accessKeyId="theirs", aws_secretAccessKey="hush")
    give(jvm, KEYS)
    give(jvm, {})
    assert jvm.properties == {"aws.accessKeyId": "theirs", "aws.secretAccessKey": "hush"}
    assert "aws.accessKeyId" in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.parametrize("given_before", [{}, KEYS])
def test_our_keys_never_go_with_the_token_of_others(
    caplog: pytest.LogCaptureFixture, given_before: dict[str, str]
) -> None:
    jvm: Any = Jvm()
    give(jvm, given_before)
    jvm.setProperty("aws.sessionToken", "theirs")
    give(jvm, KEYS)
    assert jvm.properties == {"aws.sessionToken": "theirs"}
    assert "aws.sessionToken" in caplog.text
