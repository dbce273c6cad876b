"""The model servers' benchmark: what it asks is answered rightly, and a wrong answer gets no figure."""

import json
from pathlib import Path

import pytest

from benchmarks import models, models_data
from benchmarks.models import Cell, Size, complaint, lines, verdicts
from benchmarks.models_load import requests_of
from yummy_feast.models.loading import load_model


def test_our_room_predicts_what_the_packages_predict(tmp_path: Path) -> None:
    for kind in models_data.KINDS:
        expected = models_data.save(kind, tmp_path / kind, models_data.names())
        model = load_model(str(tmp_path / kind))
        batch = model.arranger.rows(model.arranger.order(models_data.names(), models_data.WIDTH), models_data.rows())
        assert model.scorer.score(batch).tolist() == expected


def test_bodies_are_requests_whose_answers_are_known(tmp_path: Path) -> None:
    models_data.bodies(tmp_path / "100.txt", 100, models_data.names())
    requests = requests_of("/invocations", tmp_path / "100.txt")
    assert len(requests) == 20
    head, _, body = requests[3].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body)["dataframe_split"]["data"] == models_data.rows()[300:400]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"predictions": [0.5, 0.25]}', None),
        ('{"predictions": [0.5, 0.2500001]}', "predicts"),
        ('{"predictions": [0.5]}', "predicts"),
        ('{"error_code": "BAD_REQUEST"}', "is no answer"),
        ("nothing", "is no answer"),
    ],
)
def test_a_wrong_answer_is_seen(body: str, said: str | None) -> None:
    found = complaint((1, body), Size("lightgbm", 2, 1), [0.0, 0.0, 0.5, 0.25])
    assert found is None if said is None else said in (found or "")


def cell(size: Size, ours: float, theirs: float, p99: float = 0.001) -> Cell:
    figures = {"requests": 10, "answered": 10, "p50": p99 / 2, "p99": p99, "processor": 0.1, "resident": 80e6}
    return Cell(size, {"yummy": [{"rate": ours, **figures}], "mlflow": [{"rate": theirs, **figures}]})


def test_promises_are_ratios_and_times() -> None:
    eight, open_loop = Size("lightgbm", 1, 8), Size("catboost", 1, 8, 1000)
    assert [kept for kept, _ in verdicts([cell(eight, 4000, 100), cell(open_loop, 1, 1)])] == [True, True, True]
    assert [kept for kept, _ in verdicts([cell(eight, 3999, 100), cell(open_loop, 1, 1, 0.002)])] == [
        False,
        True,
        False,
    ]
    wrong = cell(eight, 4000, 100)
    wrong.wrong["yummy"] = "predicts"
    assert verdicts([wrong]) == []
    assert [line[1] for line in lines([wrong])] == ["", "WRONG", "100"]


def test_unknown_names_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["--contenders", "mlserver"], ["--cases", "all"]):
        with pytest.raises(SystemExit):
            models.parse(given)
        assert "there are" in capsys.readouterr().err
