"""Jars fetched ahead; a program stands in for Java and does what Ivy would."""

from __future__ import annotations

import stat
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from yummy_feast.cli.spark import _MORE
from yummy_feast.errors import ConfigError, MissingExtraError, SourceReadError
from yummy_feast.spark import ivy
from yummy_feast.spark.ivy import artifact, carried_jars, fetch_jars, ivy_module, write_central_only
from yummy_feast.spark.jars import MANIFEST, faults
from yummy_feast.spark.pins import PACKAGES, USUAL, packages_for

# A JVM for `-version`, else Ivy: it brings each package that ivy.xml asks for, something that the first one needs, and
# something that pyspark carries.
IVY = f"""#!{sys.executable}
import sys, pathlib, xml.etree.ElementTree as tree
if sys.argv[1] == "-version":
    sys.exit('openjdk version "17.0.1"')
value = lambda name: sys.argv[sys.argv.index(name) + 1]
pattern = value("-retrieve")
jars = pathlib.Path(pattern).parent
jars.mkdir(parents=True)
for item in tree.parse(value("-ivy")).iter("dependency"):
    name = item.get("name") + "-" + item.get("rev") + ".jar"
    print("\\t[SUCCESSFUL ] " + name)
    (jars / name).write_text(name)
(jars / "delta-storage-4.4.0.jar").touch()
(jars / "carried-9.9.jar").touch()
"""
OFFLINE = f"""#!{sys.executable}
import sys
if sys.argv[1] == "-version":
    sys.exit('openjdk version "17.0.1"')
print(":: problems summary ::")
print("\\t\\t:: io.delta#delta-spark_4.1_2.13;4.4.0: not found")
print("\\t\\t:: org.xerial#sqlite-jdbc;3.50.3.0: not found")
sys.exit(1)
"""


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program; what it does may be written anew."""
    home, jars = tmp_path / "home", tmp_path / "pyspark-jars"
    (home / "bin").mkdir(parents=True)
    jars.mkdir()
    for name in ("ivy-2.5.3.jar", "oro-2.0.8.jar", "carried-1.0.jar"):
        (jars / name).touch()
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setattr(ivy, "_pyspark_jars", lambda: jars)
    return program(home / "bin" / "java", IVY)


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_all_are_fetched_once(java: Path, tmp_path: Path) -> None:
    folder, arrived = tmp_path / "jars", []
    first = fetch_jars(folder, ("delta", "sqlite"), progress=lambda: arrived.append(1))
    names = ["delta-spark_4.1_2.13-4.4.0.jar", "delta-storage-4.4.0.jar", "sqlite-jdbc-3.50.3.0.jar"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*names, MANIFEST])
    assert [jar.name for jar in first.manifest.jars] == names
    assert (first.fetched, len(arrived)) == (3, 2)
    program(java, OFFLINE)
    again = fetch_jars(folder, ("delta",))
    assert (again.fetched, again.manifest) == (0, first.manifest)


@pytest.mark.parametrize("damage", [b"", b"delta-spark_4.1_2.13-4.4.0.JAR", None])
def test_what_is_damaged_is_fetched_again(java: Path, tmp_path: Path, damage: bytes | None) -> None:
    found = fetch_jars(tmp_path / "jars", ("delta",))
    jar = found.folder / "delta-spark_4.1_2.13-4.4.0.jar"
    jar.unlink() if damage is None else jar.write_bytes(damage)
    assert fetch_jars(found.folder, ("delta",)).fetched == 2
    assert faults(found.folder, found.manifest, thoroughly=True) == []


def test_more_needs_add_to_those_before_and_the_jars_of_others_stay(java: Path, tmp_path: Path) -> None:
    found = fetch_jars(tmp_path / "jars", ("delta",))
    (found.folder / "mine.jar").touch()
    manifest = fetch_jars(found.folder, ("sqlite",)).manifest
    assert set(manifest.needs) == {"delta", "sqlite"}
    assert len(manifest.jars) == 3
    assert (found.folder / "mine.jar").exists()


def test_other_versions_replace_those_before(java: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch_jars(tmp_path / "jars", ("sqlite",)).folder
    monkeypatch.setitem(PACKAGES, "sqlite", PACKAGES["postgresql"])
    fetch_jars(folder, ("sqlite",))
    assert not (folder / "sqlite-jdbc-3.50.3.0.jar").exists()
    assert (folder / "postgresql-42.7.7.jar").exists()


def test_without_a_network_it_says_which_and_what_to_do(java: Path, tmp_path: Path) -> None:
    program(java, OFFLINE)
    with pytest.raises(SourceReadError) as caught:
        fetch_jars(tmp_path / "jars", USUAL)
    assert str(caught.value) == (
        "could not fetch io.delta:delta-spark_4.1_2.13:4.4.0, org.xerial:sqlite-jdbc:3.50.3.0 (is Maven Central "
        "reachable? where it is not, name a mirror with --ivy-settings, or copy a folder of jars)"
    )
    assert list((tmp_path / "jars").iterdir()) == []


def test_a_folder_that_cannot_be_one(java: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="name a folder that can be written"):
        fetch_jars(tmp_path / "file" / "jars", ("delta",))


def test_without_java_and_without_pyspark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingExtraError, match="yummy spark jars needs Java 17 or newer"):
        fetch_jars(tmp_path / "jars", ("delta",))
    monkeypatch.setattr(ivy, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'yummy-feast\[spark\]'"):
        fetch_jars(tmp_path / "jars", ("delta",))
    assert not (tmp_path / "jars").exists()


@pytest.mark.parametrize(
    ("jar", "name"),
    [
        ("hadoop-aws-3.4.2.jar", "hadoop-aws"),
        ("delta-spark_4.1_2.13-4.4.0.jar", "delta-spark_4.1_2.13"),
        ("sqlite-jdbc-3.50.3.0.jar", "sqlite-jdbc"),
        ("netty-transport-native-epoll-4.2.7.Final-linux-x86_64.jar", "netty-transport-native-epoll"),
        ("netty-all-4.2.7.Final.jar", "netty-all"),
        ("mine.jar", "mine"),
    ],
)
def test_names_without_versions(jar: str, name: str) -> None:
    assert artifact(jar) == name


def test_the_real_pyspark_carries_ivy_and_hadoop() -> None:
    assert {"ivy", "hadoop-client-api", "scala-library"} <= carried_jars()


def test_what_ivy_reads_is_xml(tmp_path: Path) -> None:
    root = ElementTree.fromstring(ivy_module(packages_for(PACKAGES)))
    found = {item.get("name"): item for item in root.iter("dependency")}
    assert len(found) == sum(map(len, PACKAGES.values()))
    assert len(found["iceberg-spark-runtime-4.1_2.13"]) == 0
    assert found["iceberg-spark-runtime-4.1_2.13"].get("conf") == "default->master"
    assert {item.get("module") for item in found["delta-spark_4.1_2.13"]} >= {"bundle", "hadoop-client*"}
    (chosen,) = found["gcs-connector"]
    assert chosen.attrib["{http://ant.apache.org/ivy/extra}classifier"] == "shaded"
    text = write_central_only(tmp_path).read_text()
    assert [item.get("name") for item in ElementTree.fromstring(text).iter("ibiblio")] == ["central"]
    assert "://" not in text


def test_the_command_offers_the_needs_that_are_not_usual() -> None:
    assert sorted(_MORE) == sorted(PACKAGES.keys() - set(USUAL))
