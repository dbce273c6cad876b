"""Everything beside the hot endpoint: health, version, metrics, documentation, what is served."""

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.models.saved import COLUMNS, SAVED
from tests.unit.serving.kit import call
from tests.unit.serving.models.kit import PATH, ROW, SPLIT, ask, serving
from yummy_feast.serving.models.app import ModelApp


def test_who_asks_whether_it_lives_is_answered_as_by_mlflow() -> None:
    async def check(app: ModelApp) -> None:
        for path in ("/ping", "/health"):
            got = await call(app, path, b"", method="GET")
            assert (got.status, got.body, got.headers["content-type"]) == (200, b"\n", "application/json")
        got = await call(app, "/version", b"", method="GET")
        assert got.status == 200
        assert got.body[0:1].isdigit()

    serving(check)


def test_metrics_count_requests_rows_predictions_and_name_the_model() -> None:
    async def check(app: ModelApp) -> None:
        await ask(app, once=True)
        await ask(app, {"dataframe_split": {"columns": list(COLUMNS), "data": [ROW] * 40}}, once=True)
        await ask(app, b"{", once=True)
        got = await call(app, "/metrics", b"", method="GET")
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(got.body.decode())
            for sample in family.samples
        }
        assert samples["yummy_models_requests_total", "OK"] == 2
        assert samples["yummy_models_requests_total", "BAD_REQUEST"] == 1
        assert samples["yummy_models_request_seconds_count",] == 3
        assert samples["yummy_models_stage_seconds_count", "score"] == 2
        assert samples["yummy_models_stage_seconds_count", "features"] == 0
        assert samples["yummy_models_rows_sum",] == 41
        # 0.6767 lies in the bucket up to 0.7.
        assert samples["yummy_models_predictions_bucket", "0.6", "default"] == 0
        assert samples["yummy_models_predictions_bucket", "0.7", "default"] == 41
        version = app.models.models["default"].version
        assert samples["yummy_models_info", "default", version, "lightgbm"] == 1

    serving(check)


def test_predictions_of_several_values_count_which_is_the_largest() -> None:
    async def check(app: ModelApp) -> None:
        got = await ask(app, {"dataframe_split": {"columns": list(COLUMNS), "data": [ROW] * 3}}, once=True)
        [best] = {row.index(max(row)) for row in got.json["predictions"]}
        text = (await call(app, "/metrics", b"", method="GET")).body.decode()
        for bound, count in ((best - 0.1, 0.0), (best, 3.0)):
            assert f'yummy_models_predictions_bucket{{le="{bound:.1f}",model="default"}} {count}' in text

    serving(check, {"default": SAVED / "lgb_multiclass"})


def test_what_is_served_and_its_documentation() -> None:
    async def check(app: ModelApp) -> None:
        [told] = (await call(app, "/models", b"", method="GET")).json
        assert told["inputs"][0] == {"name": "a", "type": "double", "required": True}
        assert (told["name"], told["flavor"], told["answers"]) == ("default", "lightgbm", "binary")
        document = (await call(app, "/openapi.json", b"", method="GET")).json
        assert {"/invocations", "/invocations/default", "/ping", "/metrics"} <= document["paths"].keys()
        assert (await call(app, "/docs", b"", method="GET")).status == 200

    serving(check)


def test_other_paths_and_methods_are_refused_in_the_same_words() -> None:
    async def check(app: ModelApp) -> None:
        got = await call(app, "/invocation", SPLIT)
        assert (got.status, got.json["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
        got = await call(app, "/ping", SPLIT)
        assert (got.status, got.json["error_code"]) == (405, "METHOD_NOT_ALLOWED")
        got = await call(app, PATH, b"", method="GET")
        assert got.status == 405
        assert got.headers["allow"] == "POST"

    serving(check)
