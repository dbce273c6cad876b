"""`import yummy_feast` costs next to nothing. Its imports decide that, so this looks at modules, not at a clock."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
HEAVY = {"click", "duckdb", "feast", "msgspec", "numpy", "pandas", "pyarrow", "pydantic", "redis", "yaml"}


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that ``statement`` loads in a fresh interpreter, beyond those of Python's own start."""
    code = f"import json, sys\nbefore = set(sys.modules)\n{statement}\nprint(json.dumps([*set(sys.modules) - before]))"
    path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    return set(json.loads(run.stdout))


@pytest.mark.parametrize("statement", ["import yummy_feast", "import yummy_feast; dir(yummy_feast)"])
def test_importing_the_package_loads_no_module_of_it_and_nothing_heavy(statement: str) -> None:
    loaded = loaded_by(statement)
    assert {name for name in loaded if name.partition(".")[0] == "yummy_feast"} == {"yummy_feast"}
    assert {name.partition(".")[0] for name in loaded} <= sys.stdlib_module_names | {"yummy_feast"}


def test_the_errors_are_as_light() -> None:
    assert not {name.partition(".")[0] for name in loaded_by("import yummy_feast.errors")} & HEAVY


def test_the_measure_itself_sees_a_heavy_import() -> None:
    assert "numpy" in loaded_by("import yummy_feast, numpy")
