"""The error family: every member says what, in both languages, in one JSON shape."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gis.errors import WanmiError, every_error

FIELDS = ("type", "title", "title_zh", "status", "detail", "detail_zh", "where", "mend", "mend_zh")
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(params=every_error(), ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[WanmiError]:
    return request.param


def test_every_error_says_its_situation_in_one_sentence_of_each_language(kind: type[WanmiError]) -> None:
    assert kind.__doc__
    assert kind.__doc__ == kind.__doc__.strip()
    assert kind.__doc__.endswith(".")
    assert "\n" not in kind.__doc__
    assert "title_zh" in vars(kind), "its own, not its parent's"
    assert CHINESE.search(kind.title_zh)
    assert 400 <= kind.status <= 599


def test_every_error_has_the_same_json_shape(kind: type[WanmiError]) -> None:
    error = kind("two words", "两个词", mend="type this", file=Path("/a/b"), row=3)
    problem = error.problem()
    assert tuple(problem) == FIELDS
    assert json.loads(json.dumps(problem, ensure_ascii=False)) == problem
    assert problem["type"] == f"urn:wanmi:error:{kind.__name__}"
    assert problem["where"] == {"file": "/a/b", "row": "3"}
    assert (problem["mend"], problem["mend_zh"]) == ("type this", "type this")
    assert str(error) == "two words"


def test_the_shape_does_not_depend_on_what_is_known(kind: type[WanmiError]) -> None:
    problem = kind("a", "甲").problem()
    assert tuple(problem) == FIELDS
    assert (problem["where"], problem["mend"], problem["mend_zh"]) == ({}, None, None)


def test_titles_and_types_are_told_apart() -> None:
    for titles in ([kind.__doc__ for kind in every_error()], [kind.title_zh for kind in every_error()]):
        assert len(titles) == len(set(titles))


def test_no_two_errors_claim_one_sqlstate_of_their_own() -> None:
    own = [vars(kind)["sqlstate"] for kind in every_error() if vars(kind).get("sqlstate")]
    assert len(own) == len(set(own))
    assert all(re.fullmatch(r"WM[0-9]{3}", state) for state in own)
