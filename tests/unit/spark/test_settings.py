"""spark_conf as users write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yummy_feast.errors import ConfigError
from yummy_feast.sources.base import SourceContext
from yummy_feast.spark.settings import SparkSettings, conf_of, is_secret


def test_values_become_texts_and_short_names_long_ones() -> None:
    given = {"master": "local[*]", "app_name": "mine", "spark.ui.enabled": True, "spark.task.cpus": 2, "spark.x": 0.5}
    assert conf_of(given) == {
        "spark.master": "local[*]",
        "spark.app.name": "mine",
        "spark.ui.enabled": "true",
        "spark.task.cpus": "2",
        "spark.x": "0.5",
    }


@pytest.mark.parametrize(
    "master",
    [
        "local",
        "local[4]",
        "local[*,3]",
        "local-cluster[2,1,1024]",
        "spark://a:7077,b:7077",
        "k8s://https://host:6443",
        "yarn",
    ],
)
def test_masters(master: str) -> None:
    assert SparkSettings(conf_of({"master": master})).master == master


@pytest.mark.parametrize("key", ["master", "spark.master", "remote", "spark.remote"])
def test_connect_by_either_name(key: str) -> None:
    settings = SparkSettings(conf_of({key: "sc://host:15002/;token=abc"}))
    assert settings.is_connect
    assert not settings.is_local
    assert dict(settings.conf) == {"spark.remote": "sc://host:15002/;token=abc"}


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"mastr": "local"}, r"spark_conf has 'mastr'.*did you mean 'master'\?"),
        ({"sql.shuffle.partitions": 4}, r"write spark.sql.shuffle.partitions\?"),
        ({"fs.s3a.endpoint": "x"}, "write spark.hadoop.fs.s3a.endpoint, or leave it to storage_options"),
        ({"spark.jars": ["a.jar"]}, "spark_conf.spark.jars: .* not list"),
        ({"spark.jars": None}, "not nothing"),
        ({"master": "localhost:7077"}, r"'localhost:7077' is no master \(local\[\*\], spark://host:7077"),
        ({"master": "local", "remote": "sc://x"}, "spark.master and spark.remote"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        conf_of(given)


def test_without_a_master_it_is_this_machine() -> None:
    assert SparkSettings(threads=3).master == "local[3]"
    assert SparkSettings().master == "local[*]"
    assert SparkSettings().is_local
    assert not SparkSettings({"spark.master": "local-cluster[2,1,1024]"}).is_local


def test_what_may_be_secret_is_in_no_repr() -> None:
    options = {"key": "who", "secret": "hush"}
    settings = SparkSettings({"spark.hadoop.fs.s3a.secret.key": "hush"}, None, options, {"ice": {"token": "hush"}})
    assert "hush" not in repr(settings)
    behind = SparkSettings.behind(SourceContext(Path("/repo"), options, {"ice": {"token": "hush"}}), 2)
    assert behind.storage_options == options
    assert (behind.repo_path, behind.threads) == (Path("/repo"), 2)


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("fs.s3a.secret.key", True),
        ("fs.s3a.access.key", True),
        ("fs.s3a.session.token", True),
        ("fs.azure.account.key.x.dfs.core.windows.net", True),
        ("fs.azure.sas.fixed.token.x", True),
        ("fs.azure.account.oauth2.client.secret.x", True),
        ("spark.sql.catalog.ice.jdbc.password", True),
        ("spark.sql.catalog.ice.credential", True),
        ("spark.sql.catalog.ice.token", True),
        ("spark.kubernetes.authenticate.oauthToken", True),
        ("spark.kubernetes.authenticate.driver.mounted.oauthTokenFile", True),
        ("spark.kubernetes.container.image", False),
        ("fs.s3a.endpoint", False),
        ("spark.sql.catalog.ice.uri", False),
    ],
)
def test_secrets_are_known_by_their_names(key: str, secret: bool) -> None:
    assert is_secret(key) is secret
