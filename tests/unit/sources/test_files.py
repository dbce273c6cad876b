"""Paths, folders, globs and lists."""

from pathlib import Path

import pytest

from yummy_feast.errors import ConfigError, SourceNotFoundError, SourceReadError
from yummy_feast.sources.base import SourceContext
from yummy_feast.sources.files import glob_pattern, glob_root, list_files, locate


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    for name in ("a.pq", "b.pq", "_SUCCESS", ".hidden.pq", "notes.md", "k=1/c.pq", "k=1/_tmp/d.pq", "k=%20x/e.pq"):
        (tmp_path / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "t" / name).write_bytes(b"x")
    return SourceContext(tmp_path)


def names(context: SourceContext, *paths: str) -> list[str]:
    root = str(context.repo_path / "t")
    files = list_files([locate(path, context) for path in paths], (".pq",))
    return [file.text.removeprefix(root + "/") for file in files]


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["t"], ["a.pq", "b.pq", "k=%20x/e.pq", "k=1/c.pq"]),
        (["t/*.pq"], ["a.pq", "b.pq"]),
        (["t/**/*.pq"], ["a.pq", "b.pq", "k=%20x/e.pq", "k=1/c.pq"]),
        (["t/k=*/?.pq"], ["k=%20x/e.pq", "k=1/c.pq"]),
        (["t/[!a].pq"], ["b.pq"]),
        (["t/[ac].pq"], ["a.pq"]),
        (["t/b.pq", "t/a.pq", "t/*.pq"], ["b.pq", "a.pq"]),
        (["t/notes.md"], ["notes.md"]),
    ],
)
def test_what_a_path_leads_to(context: SourceContext, paths: list[str], found: list[str]) -> None:
    assert names(context, *paths) == found


def test_other_extensions_count_where_none_has_ours(context: SourceContext) -> None:
    (context.repo_path / "plain").mkdir()
    (context.repo_path / "plain" / "part-0").write_bytes(b"x")
    assert len(list_files([locate("plain", context)], (".pq",))) == 1


@pytest.mark.parametrize("path", ["nowhere", "t/*.csv", "empty"])
def test_no_file_is_an_error_with_the_path(context: SourceContext, path: str) -> None:
    (context.repo_path / "empty").mkdir()
    with pytest.raises(SourceNotFoundError, match=path.replace("*", r"\*")):
        names(context, path)


def test_partitions_are_what_lies_below_the_paths(context: SourceContext) -> None:
    def partitions(*paths: str) -> list[dict[str, str | None]]:
        return [dict(file.partition) for file in list_files([locate(path, context) for path in paths], (".pq",))]

    assert partitions("t") == [{}, {}, {"k": " x"}, {"k": "1"}]
    assert partitions("t/k=1") == [{}]
    assert partitions("t/k=1", "t/k=%20x") == [{"k": "1"}, {"k": " x"}]
    assert partitions("t/k=1/c.pq") == [{}]
    assert partitions("t/*/c.pq") == [{"k": "1"}]


def test_a_null_partition(tmp_path: Path) -> None:
    (tmp_path / "k=__HIVE_DEFAULT_PARTITION__").mkdir()
    (tmp_path / "k=__HIVE_DEFAULT_PARTITION__" / "a.pq").write_bytes(b"x")
    (file,) = list_files([locate(".", SourceContext(tmp_path))], (".pq",))
    assert file.partition == {"k": None}


def test_paths_resolve_against_the_repo_and_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    context = SourceContext(tmp_path)
    assert locate("x/../y.pq", context).path == f"{tmp_path}/y.pq"
    assert locate("~/y.pq", context).path == "/home/somebody/y.pq"
    assert locate("/abs/y.pq", context).path == "/abs/y.pq"
    assert locate("file:///abs/a%20b.pq", context).path == "/abs/a b.pq"
    remote = locate("s3a://bucket/key/", SourceContext(tmp_path, {"endpoint": "http://localhost:9", "region": "x"}))
    assert (remote.text, remote.is_local) == ("s3://bucket/key", False)
    assert locate("gs://bucket/key", context).text == "gs://bucket/key"
    with pytest.raises(ConfigError, match="'ftp'"):
        locate("ftp://bucket/key", context)


def test_a_file_that_was_replaced_is_noticed(context: SourceContext) -> None:
    (file,) = list_files([locate("t/a.pq", context)], (".pq",))
    with file.open() as handle:
        assert handle.read() == b"x"
    (context.repo_path / "t" / "a.pq").write_bytes(b"yy")
    with pytest.raises(SourceReadError, match=r"a\.pq was replaced"):
        file.open()
    (context.repo_path / "t" / "a.pq").unlink()
    with pytest.raises(SourceReadError, match=r"a\.pq"):
        file.open()


def test_globs_as_patterns() -> None:
    assert glob_root("/a/b*/c/*.pq") == "/a"
    assert glob_root("/a/b/*.pq") == "/a/b"
    assert glob_pattern("/a.b/*.pq").fullmatch("/a.b/c.pq")
    assert not glob_pattern("/a.b/*.pq").fullmatch("/axb/c.pq")
    assert not glob_pattern("/a/*.pq").fullmatch("/a/b/c.pq")
    assert glob_pattern("/a/**").fullmatch("/a/b/c.pq")
