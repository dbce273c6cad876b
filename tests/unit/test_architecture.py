"""The package keeps the rules in tests/architecture.py, and each of those rules can fail."""

import re
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from tests.architecture import BEHIND_EXTRAS, EXTRAS, MAX_LINES, PACKAGE, Module, breaches, modules, too_long

REPO = Path(__file__).resolve().parents[2]
DOC = '"""What this is."""\n'
# Where the name to import differs from the name to install.
INSTALLED_AS = {
    "confluent_kafka": "confluent-kafka",
    "delta": "delta-spark",
    "google": "protobuf",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def test_the_package_keeps_the_rules() -> None:
    found = breaches(REPO / PACKAGE)
    assert not found, "\n" + "\n".join(found)


def test_tests_benchmarks_and_the_example_are_small_files_too() -> None:
    files = [
        path for folder in ("tests", "benchmarks", "feature_repo_example") for path in (REPO / folder).rglob("*.py")
    ]
    found = too_long(sorted(files), REPO)
    assert not found, "\n" + "\n".join(found)


def test_every_third_party_import_is_declared_in_setup_cfg() -> None:
    found = undeclared(modules(REPO / PACKAGE), *requirements(REPO / "setup.cfg"))
    assert not found, "\n" + "\n".join(found)


def requirements(setup_cfg: Path) -> tuple[set[str], set[str]]:
    """The distributions of the core and those of all extras, names in lower case with dashes."""
    config = RawConfigParser()
    config.read(setup_cfg, encoding="utf-8")

    def names(text: str) -> set[str]:
        found = (re.match(r"[\w.-]+", line.strip()) for line in text.splitlines())
        return {match.group().lower().replace("_", "-") for match in found if match}

    extras = {name for text in config["options.extras_require"].values() for name in names(text)}
    return names(config["options"]["install_requires"]), extras


def undeclared(package: list[Module], core: set[str], extras: set[str]) -> list[str]:
    """One line for each import that an install of the core (for imports inside functions: of every extra) misses."""
    found = []
    for module in package:
        for item in module.imports:
            if item.top in sys.stdlib_module_names or item.top == PACKAGE:
                continue
            name = INSTALLED_AS.get(item.top, item.top.lower().replace("_", "-"))
            needs_core = item.at_import_time and module.name not in BEHIND_EXTRAS
            if name not in (core if needs_core else core | extras):
                found.append(f"{module.file}:{item.line}: imports {item.module}: add {name} to setup.cfg")
    return found


def tree(folder: Path, files: dict[str, str]) -> Path:
    """A package of made-up files; every folder on the way gets an empty __init__."""
    root = folder / PACKAGE
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in path.parents[: len(path.relative_to(root).parts)]:
            (parent / "__init__.py").touch()
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("file", "code", "complaint"),
    [
        ("values.py", "from yummy_feast.online import rows", "imports up: values (floor 2) -> yummy_feast.online.rows"),
        ("values.py", "import yummy_feast.settings", "imports sideways: values (floor 2)"),
        ("values.py", "from . import settings", "imports sideways: values (floor 2) -> yummy_feast.settings"),
        ("online/store.py", "from ..cli import main", "imports up: online (floor 5) -> yummy_feast.cli"),
        ("offline/plan.py", "def f():\n    from yummy_feast import provider", "imports up: offline (floor 5)"),
        (
            "sources/csv.py",
            "from yummy_feast import CsvSource",
            "imports up: sources (floor 3) -> yummy_feast (floor 8)",
        ),
        ("cli.py", "import importlib\nimportlib.import_module('yummy_feast.provider')", ":3: imports sideways: cli"),
        ("offline/x.py", "from importlib import import_module as m\nimport_module('..cli')", "imports up: offline"),
        ("attic/x.py", "", "room 'attic' has no floor"),
        ("cli.py", "import yummy_feast.attic", "imports yummy_feast.attic, a room without a floor"),
        ("ingestion/consumer.py", "from yummy_feast.tables import stores", "the side rooms (embeddings, ingestion"),
        ("online/store.py", "def f():\n    import yummy_feast.sources.base", "online knows no source and no engine"),
        ("online/store.py", "import yummy_feast.offline.plan", "online knows no source and no engine"),
        ("sources/csv.py", "def f():\n    import duckdb", "sources know no engine"),
        ("sources/csv.py", "from yummy_feast.offline.engines import base", "sources know no engine"),
        ("provider.py", "from yummy_feast.offline.engines import duckdb", "only offline knows engines"),
        ("offline/engines/duckdb.py", "from yummy_feast.sources import delta", "a new format must touch no engine"),
        ("offline/engines/duckdb.py", "from yummy_feast.sources.csv import CsvSource", "must touch no engine"),
        ("serving/http.py", "def f():\n    import redis.asyncio", "only yummy_feast/online talks to Redis"),
        ("materialization.py", "from hiredis import Reader", "only yummy_feast/online talks to Redis"),
        ("sources/delta.py", "from deltalake import DeltaTable", "import it inside the function that needs it"),
        ("sources/delta.py", "try:\n    import deltalake\nexcept ImportError: ...", "import it inside the function"),
        ("sources/delta.py", "class A:\n    import pyiceberg.table", "imports pyiceberg.table at import time"),
        ("sources/iceberg.py", "from yummy_feast.sources.iceberg_scan import x", "it lies behind an extra"),
        ("online/rows.py", "def f():\n    import socket", "online.rows is pure code"),
        ("offline/plan.py", "def f(path):\n    return path.open()", ":3: opens a file: offline.plan is pure code"),
    ],
)
def test_a_rule_fails(tmp_path: Path, file: str, code: str, complaint: str) -> None:
    inside = {"values.py": DOC, "settings.py": DOC, "provider.py": DOC, "online/rows.py": DOC, "tables/stores.py": DOC}
    root = tree(tmp_path, inside | {"sources/delta.py": DOC, "offline/engines/duckdb.py": DOC} | {file: DOC + code})

    found = breaches(root)

    assert any(complaint in line for line in found), found
    assert all(line.startswith(f"{PACKAGE}/{file}") for line in found if "attic/__init__" not in line), found


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("__init__.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import yummy_feast.cli"),
        ("sources/delta.py", "def f():\n    from deltalake import DeltaTable"),
        ("sources/delta.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import deltalake"),
        ("sources/iceberg_scan.py", "import pyiceberg\nfrom yummy_feast.sources import iceberg_filter"),
        ("sources/iceberg.py", "def f():\n    from yummy_feast.sources.iceberg_scan import x"),
        ("sources/delta.py", "from .base import Scan\nfrom yummy_feast import errors"),
        ("offline/engines/duckdb.py", "import duckdb\nfrom yummy_feast.sources.base import Scan"),
        ("offline/plan.py", "from yummy_feast.offline.engines import base"),
        ("online/redis.py", "import redis\nimport hiredis"),
        ("materialization.py", "from yummy_feast.offline import store\nfrom yummy_feast.online import writer"),
        ("provider.py", "import yummy_feast.materialization, yummy_feast.sources.base"),
    ],
)
def test_what_the_rules_allow(tmp_path: Path, file: str, code: str) -> None:
    inside = {"errors.py": DOC, "sources/base.py": DOC, "offline/engines/base.py": DOC, "online/writer.py": DOC}
    assert breaches(tree(tmp_path, inside | {file: DOC + code})) == []


def test_a_deferred_extra_does_not_excuse_the_module_below_type_checking(tmp_path: Path) -> None:
    code = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import deltalake\nelse:\n    import pyiceberg\n"
    found = breaches(tree(tmp_path, {"sources/delta.py": DOC + code}))
    assert len(found) == 1
    assert "imports pyiceberg at import time" in found[0]


def test_a_long_file_and_a_missing_docstring_fail(tmp_path: Path) -> None:
    root = tree(
        tmp_path, {"values.py": DOC + "x = 1\n" * MAX_LINES, "settings.py": "x = 1\n", "_private.py": "x = 1\n"}
    )
    found = breaches(root)
    assert f"yummy_feast/values.py: {MAX_LINES + 1} lines, at most {MAX_LINES}; split it" in found
    assert "yummy_feast/settings.py: a public module starts with a docstring that says what it is" in found
    assert not any("_private.py: a public" in line for line in found)
    assert len(too_long(sorted(root.rglob("*.py")), tmp_path)) == 1


def test_an_undeclared_import_fails(tmp_path: Path) -> None:
    code = "import json\nimport numpy\nimport leftpad\ndef f():\n    import deltalake, rightpad\n"
    package = modules(tree(tmp_path, {"values.py": DOC + code}))
    found = undeclared(package, {"numpy"}, {"deltalake"})
    assert [line.rsplit(" add ")[1] for line in found] == ["leftpad to setup.cfg", "rightpad to setup.cfg"]


def test_every_module_behind_an_extra_is_still_there() -> None:
    assert {module.name for module in modules(REPO / PACKAGE)} >= BEHIND_EXTRAS


def test_what_is_core_is_no_extra() -> None:
    core, extras = requirements(REPO / "setup.cfg")
    assert {"feast", "duckdb", "pyarrow", "redis"} <= core
    named = {INSTALLED_AS.get(name, name.replace("_", "-")) for name in EXTRAS} - {"botocore"}
    assert not named & core
    assert named - {"s3fs"} <= extras
