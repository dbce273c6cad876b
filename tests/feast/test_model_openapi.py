"""The OpenAPI of the model server held against what it answers, by schemathesis; and bodies that are nearly right."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.unit.models.saved import SAVED
from tests.unit.serving.kit import call
from tests.unit.serving.models.test_serve import server
from yummy_feast.serving.models.app import ModelApp

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
SETTINGS = settings(
    max_examples=100,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server("-m", f"mixed={SAVED / 'lgb_mixed'}", "-m", f"towns={SAVED / 'cat_towns'}") as (found, _):
        yield found


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_what_the_schema_allows_and_what_it_does_not(url: str, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {"POST /invocations/mixed", "POST /invocations/towns", "GET /ping"} <= {each.label for each in operations}
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and "requestBody" not in operation.definition.raw:
            continue

        @SETTINGS
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            response = case.call()
            assert response.status_code < 500, case.as_curl_command()
            case.validate_response(response, checks=CHECKS)

        ask()


NAMES = {
    "mixed": ["real", "single", "whole", "small", "flag", "gap"],
    "towns": ["real", "whole", "city", "zone"],
}
CELL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(["", "5", "1e5", "Oslo", "nan", "ï", "\x00", "9" * 400]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, Any]:
    """A model, and rows of it in any form: names mostly right, cells of any kind."""
    model = draw(st.sampled_from(sorted(NAMES)))
    names = [*NAMES[model], *draw(st.lists(st.sampled_from(["extra", *NAMES[model]]), max_size=1))]
    names = draw(st.permutations(names))[draw(st.integers(0, 1)) :]
    # One odd cell in half of them, else any.
    cell = draw(st.sampled_from([CELL, st.integers(0, 6)]))
    rows = draw(st.lists(st.lists(cell, min_size=len(names), max_size=len(names)), max_size=3))
    if rows and draw(st.booleans()):
        rows[0][draw(st.integers(0, len(names) - 1))] = draw(CELL)
    records = [dict(zip(names, row, strict=True)) for row in rows]
    columns = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    form = draw(st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "short", "array"]))
    if form == "short":
        return model, {"columns": names, "data": rows}
    if form == "array":
        return model, {draw(st.sampled_from(["instances", "inputs"])): rows}
    split = {"columns": names, "data": rows}
    content = {"dataframe_split": split, "dataframe_records": records, "instances": records, "inputs": columns}
    return model, {form: content[form]}


@pytest.fixture(scope="module")
def app() -> ModelApp:
    return ModelApp({name: str(SAVED / folder) for name, folder in (("mixed", "lgb_mixed"), ("towns", "cat_towns"))})


def test_nearly_right_bodies_are_answered_or_refused_with_words(app: ModelApp) -> None:
    answered = 0

    @settings(SETTINGS, max_examples=600)
    @given(bodies())
    def ask(given: tuple[str, Any]) -> None:
        nonlocal answered
        model, body = given
        got = asyncio.run(call(app, f"/invocations/{model}", json.dumps(body).encode()))
        if got.status == 200:
            answered += 1
            return
        assert got.status == 400, got.body
        assert got.json["error_code"] in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE")
        assert 5 < len(got.json["message"]) < 2000
        assert "\n" not in got.json["message"]

    ask()
    assert answered > 10
