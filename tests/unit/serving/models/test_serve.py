"""`yummy models serve`: names of models, options, and a whole server."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.models.saved import SAVED
from tests.unit.serving.models.kit import PREDICTION, SPLIT
from yummy_feast.errors import ConfigError
from yummy_feast.serving.models.options import ModelOptions
from yummy_feast.serving.models.serve import ModelAppFactory, places_of

REPO = Path(__file__).resolve().parents[4]
MAIN = "import sys; from yummy_feast.cli import main; sys.exit(main())"
COMMAND = (sys.executable, "-c", MAIN, "models", "serve")


@pytest.mark.parametrize(
    ("models", "pairs"),
    [
        ("m", [("default", "m")]),
        (Path("a=b/m"), [("a", "b/m")]),
        (["late=x/m", "s3://b/churn/"], [("late", "x/m"), ("churn", "s3://b/churn/")]),
        (["https://h/m?token=a=b"], [("default", "https://h/m?token=a=b")]),
        ({"a": Path("x"), "b": "y"}, [("a", "x"), ("b", "y")]),
    ],
)
def test_names_and_places(models: Any, pairs: list[tuple[str, str]]) -> None:
    assert places_of(models) == tuple(pairs)


@pytest.mark.parametrize(
    ("models", "said"),
    [([], "no model"), (["a=x", "a=y"], "two models are called 'a'"), ({"a/b": "x"}, "cannot be a model's name")],
)
def test_names_that_cannot_be(models: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        places_of(models)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, "--threads"),
        ({"on_missing": "impute"}, "impute_null"),
        ({"overrides": ("x",)}, "--feature-service"),
    ],
)
def test_options_that_cannot_be(options: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ModelOptions(**options)


def test_a_model_server_without_features_does_not_import_feast() -> None:
    code = (
        "import sys; from yummy_feast.serving.models.serve import ModelAppFactory; "
        "from yummy_feast.serving.models.options import ModelOptions; "
        f"ModelAppFactory((('m', {str(SAVED / 'lgb_binary')!r}),), ModelOptions())(None); "
        "print(sorted({'feast', 'pandas', 'lightgbm', 'catboost', 'duckdb', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ())
    assert done.stdout.strip() == "[]"


def environ() -> dict[str, str]:
    path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return os.environ | {"PYTHONPATH": path}


@contextmanager
def server(*arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server of its own process, once it says that it is ready."""
    process = subprocess.Popen([*COMMAND, "-p", "0", *arguments], stderr=subprocess.PIPE, text=True, env=environ())
    lines = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            found = re.search(r"ready on (http\S+)", line)
            if found:
                yield found[1], process
                break
        else:
            raise AssertionError("".join(lines))
    finally:
        process.terminate()
        process.communicate(timeout=20)


def post(url: str, body: Any = SPLIT, **headers: str) -> tuple[int, Any]:
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/invocations", data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_answers_and_ends_when_it_is_told_to(workers: str) -> None:
    with server("-m", str(SAVED / "lgb_binary"), "--token", "secret", "--workers", workers) as (url, process):
        assert post(url)[0] == 401
        assert post(url, authorization="Bearer secret") == (200, {"predictions": [PREDICTION]})
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "nowhere"], "nowhere: there is no MLmodel file"),
        (["-m", str(SAVED / "lgb_binary"), "--override", "x"], "--override without --feature-service"),
        (
            ["-m", str(SAVED / "lgb_binary"), "--feature-service", "x", "-f", "nowhere.yaml"],
            "nowhere.yaml: no such file",
        ),
        ([], "Missing option '-m' / '--model'"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], said: str) -> None:
    done = subprocess.run([*COMMAND, "-p", "0", *arguments], capture_output=True, text=True, check=False, env=environ())
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_factory_can_be_sent_to_workers() -> None:
    factory = ModelAppFactory((("m", "x"),), ModelOptions(overrides=()))
    assert pickle.loads(pickle.dumps(factory)) == factory
