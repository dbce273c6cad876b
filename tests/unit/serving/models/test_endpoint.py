"""POST /invocations: what is answered, what is refused, and who waits for whom."""

import asyncio
import json
import re
import time
from typing import Any

import pytest

from tests.unit.models.saved import COLUMNS, SAVED
from tests.unit.serving.kit import Answered, call
from tests.unit.serving.models.kit import PATH, PREDICTION, ROW, SPLIT, ask, serving
from yummy_feast.serving.models.app import ModelApp


def test_one_row_and_how_long_each_stage_took() -> None:
    async def check(app: ModelApp) -> None:
        got = await ask(app)
        assert (got.status, got.json) == (200, {"predictions": [PREDICTION]})
        assert got.headers["content-type"] == "application/json"
        stages = dict(part.split(";dur=") for part in got.headers["server-timing"].split(", "))
        assert list(stages) == ["decode", "score", "encode"]
        assert all(float(value) >= 0 for value in stages.values())

    serving(check)


def test_the_short_form_answers_a_bare_list_with_a_list_for_each_row() -> None:
    async def check(app: ModelApp) -> None:
        for rows in (1, 3):
            got = await ask(app, {"columns": list(COLUMNS), "data": [ROW] * rows})
            assert (got.status, got.json) == (200, [[PREDICTION]] * rows)
        for broken in ({"columns": list(COLUMNS)}, {"data": [ROW]}, {"columns": ["a"], "data": [ROW]}):
            got = await ask(app, broken)
            assert (got.status, got.json["error_code"]) == (400, "BAD_REQUEST")

    serving(check)


def test_several_models_each_have_a_path() -> None:
    async def check(app: ModelApp) -> None:
        assert (await ask(app, path=f"{PATH}/one")).json == {"predictions": [PREDICTION]}
        [several] = (await ask(app, path=f"{PATH}/several")).json["predictions"]
        assert len(several) == 3
        assert (await ask(app, {"columns": list(COLUMNS), "data": [ROW]}, f"{PATH}/several")).json == [several]
        for path, said in ((PATH, "POST to /invocations/one"), (f"{PATH}/on", "did you mean 'one'")):
            got = await ask(app, path=path)
            assert (got.status, got.json["error_code"]) == (404, "MODEL_NOT_FOUND")
            assert said in got.json["message"]

    serving(check, {"one": SAVED / "lgb_binary", "several": SAVED / "lgb_multiclass"})


def nested(depth: int) -> bytes:
    return b'{"inputs":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "valid JSON"),
        (nested(100), "no table|inputs"),
        (nested(100_000), "valid JSON"),
        (b'{"dataframe_split":' * 5000, "valid JSON"),
        (b'{"dataframe_split":{"columns":["a","b","c","d"],"data":[[1,2,3,%b]]}}' % (b"9" * 5000), "row 0|valid JSON"),
        (b'{"dataframe_split":{"columns":["a","b","c","d"],"data":[[1,2,3,1e999999]]}}', ""),
        (b'{"dataframe_split":{"columns":{"a":1},"data":[[1]]}}', "columns"),
        (b'{"dataframe_split":{"columns":[null,"b","c","d"],"data":[[1,2,3,4]]}}', "columns"),
        (b'{"dataframe_split":{"columns":["a","b","c","d"],"data":{"a":1}}}', "data is a dict"),
        (b'{"dataframe_records":[1]}', "row 0 is 1: not an object"),
        (b'{"inputs":null}', "no table"),
        (b'{"entities":{"flight_id":[1]}}', "exactly one of the input fields"),
    ],
)
def test_odd_bodies_are_refused_and_never_a_500(body: bytes, said: str) -> None:
    async def check(app: ModelApp) -> None:
        got = await ask(app, body)
        assert got.status == (200 if not said else 400), got.body
        assert not said or re.search(said, got.json["message"])

    serving(check)


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_python_calls_numbers_is_taken_as_by_mlflow(word: bytes) -> None:
    async def both(app: ModelApp) -> None:
        body = b'{"dataframe_split":{"columns":["a","b","c","d"],"data":[[1,2,%b,4]]}}' % word
        assert (await ask(app, body, f"{PATH}/one")).status == 200
        whole = (
            b'{"dataframe_split":{"columns":["real","single","whole","small","flag","gap"],"data":[[1,2,%b,4,true,1]]}}'
        )
        refused = await ask(app, whole % word, f"{PATH}/mixed")
        assert (refused.status, refused.json["error_code"]) == (400, "BAD_REQUEST")
        assert "'whole', row 0" in refused.json["message"]

    serving(both, {"one": SAVED / "lgb_binary", "mixed": SAVED / "lgb_mixed"})


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "instances", "inputs", "columns"])
def test_a_large_body_is_answered_like_a_small_one(form: str) -> None:
    rows = [[value + at / 1000 for value in ROW] for at in range(5000)]
    records = [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    def body(first: int, last: int) -> Any:
        if form == "dataframe_split":
            return {form: {"columns": list(COLUMNS), "data": rows[first:last]}, "params": {}}
        if form == "columns":
            return {"columns": list(COLUMNS), "data": rows[first:last]}
        return {form: records[first:last]}

    async def check(app: ModelApp) -> None:
        whole = await ask(app, body(0, 5000))
        assert whole.status == 200
        parts = [await ask(app, body(first, first + 500)) for first in range(0, 5000, 500)]
        if form == "columns":
            assert whole.json == [row for part in parts for row in part.json]
        else:
            assert whole.json["predictions"] == [row for part in parts for row in part.json["predictions"]]
        broken = body(0, 5000)
        if form == "dataframe_split":
            broken[form]["data"][4321] = [1.0]
            got = await ask(app, broken)
            assert (got.status, "row 4321" in got.json["message"]) == (400, True)

    serving(check)


def test_small_requests_do_not_wait_for_a_long_one() -> None:
    rows = [ROW] * 100_000
    body = json.dumps({"dataframe_split": {"columns": list(COLUMNS), "data": rows}}).encode()

    async def check(app: ModelApp) -> None:
        await ask(app)
        long = asyncio.create_task(ask(app, body))
        times = []
        while not long.done():
            started = time.perf_counter()
            assert (await ask(app)).status == 200
            times.append(time.perf_counter() - started)
            await asyncio.sleep(0.001)
        assert len((await long).json["predictions"]) == 100_000
        times.sort()
        # All of it at once takes some 200 ms, which the first small request waited for before.
        assert len(times) > 10
        assert times[len(times) // 2] < 0.02

    serving(check)


def test_limits() -> None:
    async def check(app: ModelApp) -> None:
        got = await ask(app, b"[" + b"1," * 2000 + b"1]")
        assert (got.status, got.json["error_code"]) == (413, "BODY_TOO_LARGE")
        assert (await ask(app)).status == 200

    serving(check, max_body=1000)


def test_fifty_megabytes_are_refused_or_answered() -> None:
    row = b"[" + b",".join([b"0.123456789012345"] * 4) + b"],"
    data = row * (50_000_000 // len(row))
    body = b'{"dataframe_split":{"columns":["a","b","c","d"],"data":[' + data[:-1] + b"]}}"

    async def refused(app: ModelApp) -> None:
        assert (await ask(app, body)).status == 413

    async def answered(app: ModelApp) -> None:
        got: Answered = await ask(app, body)
        assert got.status == 200
        assert len(got.json["predictions"]) == len(data) // len(row)

    serving(refused, max_body=10_000_000)
    serving(answered, max_body=60_000_000)


def test_a_request_that_takes_too_long_is_given_up() -> None:
    body = {"dataframe_split": {"columns": list(COLUMNS), "data": [ROW] * 200_000}}

    async def check(app: ModelApp) -> None:
        got = await ask(app, body)
        assert (got.status, got.json["error_code"]) == (503, "REQUEST_TIMEOUT")
        assert got.headers["retry-after"] == "1"
        assert (await ask(app)).status == 200

    serving(check, request_timeout=0.02)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json; charset=latin-1", "application/json; q=1"])
def test_other_content_types(kind: str) -> None:
    async def check(app: ModelApp) -> None:
        got = await call(app, PATH, SPLIT, headers={"content-type": kind})
        assert (got.status, got.json["error_code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")

    serving(check)
