"""Edits of one component: merged when they can be, refused with both values when not, and never lost."""

from __future__ import annotations

import threading
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, Point
from sqlalchemy import Connection, text

from gis.errors import Conflict, Invalid, NotFound
from grids.city import City
from layers import edits
from layers.edits import Overlapping, Version, changed_fields, merge, version_at, versions
from tests.conftest import copied
from tests.hamlet import SRID, at

LAMP = "6109990137000001"


def change(conn: Connection, base: Version, actor: str = "me", **fields: Any) -> Version:
    return edits.change(conn, base.code, fields, base_id=base.id, srid=SRID, actor=actor, reason="a test")


def retire(conn: Connection, base: Version, actor: str = "me") -> Version:
    return edits.retire(conn, base.code, base_id=base.id, actor=actor, reason="a test")


def add(conn: Connection, east_m: float = 5, north_m: float = 5, key: str | None = None, **fields: Any) -> Version:
    whole = {"geometry": Point(at(east_m, north_m)), **fields}
    return edits.add(conn, "C0137", whole, srid=SRID, actor="me", reason="a test", key=key)[0]


# ── merging ────────────────────────────────────────

values = st.none() | st.integers(0, 2) | st.sampled_from(["a", "b"])
records = st.fixed_dictionaries(
    {"state": values, "name_zh": values, "attrs": st.dictionaries(st.sampled_from("xy"), values, max_size=2)}
)


@given(base=records, mine=records, theirs=records)
def test_merging_is_symmetric_and_keeps_what_both_changed(base: Any, mine: Any, theirs: Any) -> None:
    wanted, clash = merge(base, mine, theirs)
    back, clash_back = merge(base, theirs, mine)
    plain = [edits._flat(one) for one in (base, mine, theirs)]
    named = set(plain[1]) & set(plain[2])
    assert set(clash) & named == set(clash_back) & named
    for name in named:
        was, here, there = (one.get(name) for one in plain)
        if name in clash:
            assert not edits._same(here, there)
            assert not edits._same(was, here)
            continue
        result = wanted.get(name, there)
        assert edits._same(result, back.get(name, here))
        assert edits._same(result, there if edits._same(was, here) else here)


@given(base=records, mine=records)
def test_an_edit_that_is_there_already_wants_nothing(base: Any, mine: Any) -> None:
    assert merge(base, mine, mine) == ({}, [])


# ── one after the other ────────────────────────────────────────


def test_different_fields_are_merged_and_every_version_stays(conn: Connection) -> None:
    base = version_at(conn, LAMP)
    change(conn, base, "li", state="damaged", attrs={"lamps": 2})
    now = change(conn, base, "wang", surveyed_on=date(2026, 5, 1), attrs={"height_m": 8})
    assert (now.fields["state"], now.fields["surveyed_on"]) == ("damaged", date(2026, 5, 1))
    assert now.fields["attrs"] == {"lamps": 2, "height_m": 8}
    past = versions(conn, LAMP)
    assert [one.actor for one in past] == ["wanmi load", "li", "wang"]
    assert [old.until == new.since for old, new in pairwise(past)] == [True, True]
    assert [one.ended_by for one in past] == ["li", "wang", None]
    assert set(changed_fields(past[0], past[1])) == {"state", "attrs.lamps"}
    assert version_at(conn, LAMP, past[1].since).id == past[1].id


def test_the_same_field_is_refused_with_both_values_and_the_author(conn: Connection) -> None:
    base = version_at(conn, LAMP)
    now = change(conn, base, "li", state="damaged")
    change(conn, now, "zhao", name_zh="灯")
    with pytest.raises(Overlapping, match="state is damaged by li, you wrote lost") as caught:
        change(conn, base, "wang", state="lost")
    assert caught.value.where["fields"] == "state"
    assert version_at(conn, LAMP).fields["state"] == "damaged"


def test_repeating_an_edit_that_went_in_is_harmless(conn: Connection) -> None:
    base = version_at(conn, LAMP)
    first = change(conn, base, state="damaged", geometry=Point(at(151, 50)))
    assert change(conn, base, state="damaged", geometry=Point(at(151, 50))).id == first.id
    assert len(versions(conn, LAMP)) == 2
    assert retire(conn, first).id == retire(conn, first).id
    assert len(versions(conn, LAMP)) == 2


def test_moving_sets_the_cell(conn: Connection) -> None:
    base = version_at(conn, LAMP)
    assert base.cell_code == "610999001001004"
    assert change(conn, base, geometry=Point(at(50, 350))).cell_code == "610999001002001"


def test_what_is_retired_is_not_edited_and_its_code_does_not_come_back(conn: Connection) -> None:
    one = add(conn, name_zh="灯")
    assert one.code == "6109990137000003"
    change(conn, one, "li", state="lost")
    with pytest.raises(Overlapping):
        retire(conn, one, "wang")
    gone = retire(conn, version_at(conn, one.code))
    assert gone.until is not None
    with pytest.raises(Conflict, match="was retired by me"):
        change(conn, gone, state="intact")
    with pytest.raises(NotFound, match="is retired"):
        version_at(conn, one.code)
    assert add(conn).code == "6109990137000004"


def test_adding_again_with_the_same_key_adds_nothing(conn: Connection) -> None:
    assert add(conn, key="k-1").id == add(conn, key="k-1").id
    assert add(conn, key="k-2").code != add(conn, key="k-3").code


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "state": ({"state": "fine"}, "state"),
    "unit": ({"owner_unit": "NOBODY"}, "owner_unit"),
    "day": ({"surveyed_on": "soon"}, "surveyed_on"),
    "line": ({"geometry": LineString([at(0, 0), at(5, 5)])}, "geometry"),
    "elsewhere": ({"geometry": Point(at(-50, 5))}, "geometry"),
    "no place": ({"geometry": None}, "geometry"),
    "NUL": ({"name_zh": "a\0"}, "name_zh"),
    "NUL within": ({"attrs": {"a": "\0"}}, "attrs"),
    "no source": ({"data_source": None}, "data_source"),
    "field": ({"cell_code": "x"}, "cell_code"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_cannot_be_is_refused_and_changes_nothing(conn: Connection, name: str) -> None:
    fields, field = WRONG[name]
    before = versions(conn, LAMP)
    with pytest.raises(Invalid) as caught:
        change(conn, before[-1], **fields)
    assert caught.value.where["field"] == field
    assert [one.id for one in versions(conn, LAMP)] == [one.id for one in before]


def test_attributes_keep_to_the_schema_of_their_class(conn: Connection) -> None:
    schema = '{"type": "object", "properties": {"material": {"enum": ["铸铁"]}}}'
    conn.execute(
        text("update layers.class set attribute_schema = cast(:schema as jsonb) where edition = 'hamlet'"),
        {"schema": schema},
    )
    base = version_at(conn, LAMP)
    with pytest.raises(Invalid, match="is none of"):
        change(conn, base, attrs={"material": "木"})
    assert change(conn, base, attrs={"material": "铸铁"}).fields["attrs"] == {"material": "铸铁"}


# ── at once ────────────────────────────────────────


def test_many_editors_at_once_lose_nothing(server: Any, template: City) -> None:
    engine = copied(server, template, "edits_race")
    accepted: list[tuple[str, int]] = []
    refused: list[int] = []
    new: list[str] = []

    def editing(editor: int) -> None:
        for turn in range(12):
            number = editor * 100 + turn
            with engine.connect() as conn:
                base = version_at(conn, LAMP)
            name = f"a{(editor + turn) % 3}"
            try:
                with engine.begin() as conn:
                    change(conn, base, f"editor{editor}", attrs={name: number})
                accepted.append((name, number))
            except Overlapping:
                refused.append(number)
            if turn % 4 == 0:
                with engine.begin() as conn:
                    new.append(add(conn, 5 + editor, 5 + turn).code)

    threads = [threading.Thread(target=editing, args=(editor,)) for editor in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with engine.connect() as conn:
        past = versions(conn, LAMP)
    written = [
        (name.removeprefix("attrs."), after)
        for old, version in pairwise(past)
        for name, (_, after) in changed_fields(old, version).items()
    ]
    assert sorted(written) == sorted(accepted)
    assert accepted
    assert refused
    assert not {value for _, value in written} & set(refused)
    assert len(set(new)) == len(new) == 24
    engine.dispose()
