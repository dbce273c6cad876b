"""What README and docs/ promise is true, and each kind of promise is seen when it is broken."""

import warnings
from collections.abc import Mapping
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import click
import pytest

from tests.documents import (
    Page,
    check_commands,
    check_configurations,
    check_extras,
    check_links,
    check_make,
    check_python,
)

REPO = Path(__file__).resolve().parents[2]
PATHS = [REPO / "README.md", REPO / "CHANGELOG.md", *sorted((REPO / "docs").rglob("*.md"))]
PACKAGES = ("feast", "yummy_feast", "feature_repo_example")

pages = pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(REPO)))


def programs() -> Mapping[str, click.Command]:
    import yummy_feast.cli

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Feast's own commands are imported to be parsed, not tested
        import feast.cli.cli

    return {"yummy": yummy_feast.cli.yummy, "feast": feast.cli.cli.cli}


def load(document: dict[str, Any], folder: Path) -> None:
    """Load a feature_store.yaml, or a part of one, as Feast does, and build both stores' configs from it."""
    from feast.errors import FeastError
    from feast.repo_config import RepoConfig

    whole = {"project": "docs", "registry": "data/registry.db", "entity_key_serialization_version": 3} | document
    try:
        config = RepoConfig(**whole, repo_path=folder)
        # Each of these is built when it is first read.
        assert config.offline_store is not None
        assert config.registry is not None
        assert config.online_store is not None or not whole.get("online_store")
    except FeastError as error:
        raise ValueError(str(error)) from error


def keys() -> set[str]:
    from feast.repo_config import RepoConfig

    return {field.alias or name for name, field in RepoConfig.model_fields.items()}


@pages
def test_make_verbs_exist(path: Path) -> None:
    assert check_make(Page.read(path), (REPO / "Makefile").read_text()) == []


@pages
def test_commands_parse(path: Path) -> None:
    assert check_commands(Page.read(path), programs()) == []


@pages
def test_extras_exist(path: Path) -> None:
    config = RawConfigParser()
    config.read(REPO / "setup.cfg", encoding="utf-8")
    assert check_extras(Page.read(path), set(config["options.extras_require"])) == []


@pages
def test_python_compiles_and_names_resolve(path: Path) -> None:
    assert check_python(Page.read(path), PACKAGES) == []


@pages
def test_configurations_load(path: Path, tmp_path: Path) -> None:
    assert check_configurations(Page.read(path), lambda document: load(document, tmp_path), keys()) == []


@pages
def test_links_resolve(path: Path) -> None:
    assert check_links(Page.read(path)) == []


def test_the_readme_promises_something_of_each_kind() -> None:
    readme = Page.read(REPO / "README.md")
    named = {command.words[0] for command in readme.commands()}
    assert {"make", "yummy", "feast"} <= named
    assert list(readme.blocks("python"))
    assert any("offline_store:" in body for _, body in readme.blocks("yaml"))


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    seen, left = set(), [REPO / "README.md"]
    while left:
        path = left.pop()
        if path not in seen:
            seen.add(path)
            left += [target for _, _, target, _ in Page.read(path).links() if target in PATHS]
    assert [str(path.relative_to(REPO)) for path in PATHS if path not in seen and path.parent != REPO] == []


# The checks themselves.


def page(folder: Path, text: str) -> Page:
    path = folder / "page.md"
    path.write_text(text)
    return Page.read(path)


@click.group(no_args_is_help=True)
def tool() -> None: ...


@tool.group()
def store() -> None: ...


@store.command()
@click.option("--wait", type=float)
def start(wait: float) -> None: ...


@tool.command()
@click.option("-m", "--model", required=True, type=click.Path(exists=True))
def score(model: str) -> None: ...


@pytest.mark.parametrize(
    "text",
    [
        "```bash\nmake demo\n```",
        "`make demo PYTHON=python3.12`, and make sure of it",
        "```bash\nFOO=1 .venv/bin/tool store start --wait 2 > log 2>&1 && tool score -m absent  # a comment\n```",
        "```bash\ntool store \\\n  start\n```",
        "```console\n$ tool store start\ntool: it isn't a command but its answer\n```",
        "`tool`, `tool store`, `tool store start [--wait N]`, `tool score`, `tool --help`, `tool store|score`",
        "- indented\n  ```bash\n  tool store start\n  ```",
        "```\ntool store start\nit isn't a command, this line\n```",
        "```text\ntool is not a shell block\n```",
    ],
)
def test_true_commands_pass(tmp_path: Path, text: str) -> None:
    written = page(tmp_path, text)
    assert check_make(written, "demo: setup\ncheck:\n") + check_commands(written, {"tool": tool}) == []


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("```bash\nmake demo\nmake tea\n```", 3, "make tea: no such verb"),
        ("Say `make check tea`.", 1, "make tea: no such verb"),
        ("```bash\ntool store open\n```", 2, "No such command 'open'"),
        ("\nSay `tool store start|stop`.", 2, "No such command 'stop'"),
        ("```bash\ncd x && tool store start --fast\n```", 2, "--fast"),
        ("```bash\ntool \\\n store \\\n start --wait soon\n```", 2, "'soon' is not a valid float"),
        ("```sh\ntool score\n```", 2, "Missing option '-m'"),
        ("```console\n$ tool brew\nbrewed\n```", 2, "No such command 'brew'"),
        ("```\ntool brew\n```", 2, "No such command 'brew'"),
        ("- item\n\n  ```bash\n  tool brew\n  ```", 4, "No such command 'brew'"),
    ],
)
def test_a_false_command_is_seen(tmp_path: Path, text: str, line: int, complaint: str) -> None:
    written = page(tmp_path, text)
    found = check_make(written, "demo: setup\ncheck:\n") + check_commands(written, {"tool": tool})
    assert len(found) == 1, found
    assert found[0].startswith(f"{written.path}:{line}: ")
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("code", "line", "complaint"),
    [
        ("x = (", 2, "does not compile"),
        ("from yummy_feast import PolarsSource", 2, "no attribute 'PolarsSource'"),
        ("import yummy_feast.polars", 2, "No module named 'yummy_feast.polars'"),
        ("from tests.documents import Page\nPage(path='x', txt='y')", 3, "missing a required argument: 'text'"),
        ("from tests.documents import Page\ndef f():\n    return Page('a', 'b', txt='y')", 4, "unexpected keyword"),
    ],
)
def test_a_false_snippet_is_seen(tmp_path: Path, code: str, line: int, complaint: str) -> None:
    found = check_python(page(tmp_path, f"```python\n{code}\n```"), ("yummy_feast", "tests"))
    assert len(found) == 1, found
    assert f"page.md:{line}: " in found[0]
    assert complaint in found[0]


def test_a_true_snippet_passes(tmp_path: Path) -> None:
    code = "import not_here\nfrom tests.documents import Page\nPage('a', text='b')\nPage(*[])\nnot_here.f(x=1)"
    assert check_python(page(tmp_path, f"```python\n{code}\n```"), ("tests",)) == []


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("offline_store: {type: dask, speed: 9}", "Feast refuses it"),
        ("online_store: {type: nowhere.NoOnlineStore}", "Feast refuses it"),
        ("provider: local\nofline_store: dask", "no key 'ofline_store'"),
        ("project: [", "no YAML"),
    ],
)
def test_a_false_configuration_is_seen(tmp_path: Path, block: str, complaint: str) -> None:
    found = check_configurations(page(tmp_path, f"```yaml\n{block}\n```"), lambda part: load(part, tmp_path), keys())
    assert len(found) == 1, found
    assert complaint in found[0]


def test_a_true_configuration_passes(tmp_path: Path) -> None:
    text = "```yaml\nprovider: local\noffline_store:\n  type: ${STORE:-dask}\n```\n```yaml\nkind: table\nspec: {}\n```"
    assert check_configurations(page(tmp_path, text), lambda part: load(part, tmp_path), keys()) == []


def test_a_false_extra_is_seen(tmp_path: Path) -> None:
    written = page(tmp_path, "pip install 'yummy-feast[delta]'\npip install 'yummy-feast[delta,polars]'\n")
    assert [line.partition("page.md")[2] for line in check_extras(written, {"delta"})] == [
        ":2: yummy-feast[delta,polars]: setup.cfg has no extra 'polars'"
    ]


def test_links(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One `store`, two\n\n## Twice\n\n## Twice\n\n```bash\n# not a heading\n```\n")
    true = "[a](other.md) [b](other.md#one-store-two) [c](other.md#twice-1) [d](https://x.y/z) [e](#here)\n\n# Here\n"
    assert check_links(page(tmp_path, true + "`[no](link.md)`")) == []
    false = "[a](absent.md)\n![b](absent.png)\n[c](other.md#three)\n[d](#there)\n[e](other.md#not-a-heading)\n"
    found = check_links(page(tmp_path, false))
    assert [line.rpartition(": ")[2] for line in found] == [
        "no such file",
        "no such file",
        "no such heading",
        "no such heading",
        "no such heading",
    ]
    assert ":2: absent.png" in found[1]
