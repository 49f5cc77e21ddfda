"""Schemathesis over the OpenAPI document: no 500, no answer that is not described, no error of another shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from tests.doorstep import Door, opened_door
from tests.test_errors import FIELDS

STATUSES = {200, 201, 204, 304, 401, 403, 404, 405, 409, 413, 422}


@pytest.fixture(scope="module")
def described(door: Door) -> Iterator[Any]:
    """The schema that Schemathesis works from, as a server tells it that lets only accounts read."""
    with opened_door(door.engine, door.house.city, "accounts") as closed:
        yield schemathesis.openapi.from_url(f"{closed.address}/openapi.json")


def test_no_question_of_the_document_is_answered_otherwise_than_it_says(door: Door, described: Any) -> None:
    headers = {"Authorization": f"Bearer {door.tokens['collector']}"}
    asked: Counter[str] = Counter()

    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(operation: Any, data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy())
        if case.path == "/session" and isinstance(case.body, dict) and "name" in case.body:
            case.body["name"] = f"nobody-{sum(asked.values())}"  # a name that failed before would have to wait
        excluded = [positive_data_acceptance]  # a well-formed place may lie elsewhere
        if case.path == "/session":  # who asks may be nobody
            excluded.append(ignored_auth)
        response = case.call(headers=headers)
        case.validate_response(response, headers=headers, excluded_checks=excluded)
        assert response.status_code in STATUSES, response.text
        if response.status_code >= 400:
            assert tuple(name for name in response.json() if name != "now") == FIELDS
        asked[operation.label] += 1

    for found in described.get_all_operations():
        if found.ok().path != "/events":  # that answer has no end
            ask(found.ok())
    assert len(asked) == sum(map(len, described.raw_schema["paths"].values())) - 1
    assert min(asked.values()) >= 1


def test_every_answer_of_the_document_has_examples_words_and_errors(door: Door) -> None:
    document = door.get("/openapi.json").json()
    assert "Problem" in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation.get("description"), where
            assert operation.get("tags"), where
            for parameter in operation.get("parameters", ()):
                assert parameter.get("description"), f"{where} {parameter['name']}"
            for status in ("401", "403", "422", "500", "503"):
                content = operation["responses"][status]["content"]
                assert "application/problem+json" in content or path == "/health", where
