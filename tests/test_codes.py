"""Codes of areas, cells and components: what passes is its parts, what is issued was never used."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gis.errors import Invalid
from grids.codes import AreaCode, CellCode, ComponentCode


def digits(width: int, low: int = 1) -> st.SearchStrategy[str]:
    return st.integers(low, 10**width - 1).map(lambda number: f"{number:0{width}d}")


provinces, twos, threes, sixes = digits(2, 0), digits(2), digits(3), digits(6)
districts = st.tuples(provinces, twos, twos).map("".join)
communities = st.tuples(districts, threes, threes).map("".join)
cells = st.tuples(communities, twos | threes).map("".join)
classes = st.tuples(twos, twos | threes).map("".join)
components = st.tuples(districts, classes, sixes).map("".join)


@given(community=communities)
def test_an_area_climbs_to_its_city(community) -> None:
    area, levels = AreaCode(community), []
    step: AreaCode | None = area
    while step is not None:
        levels.append(step.level)
        assert step.holds(area)
        assert area.at(step.level) == step
        assert "".join(step.parts.values()) == step
        step = step.parent
    assert levels == ["community", "street", "district", "city"]


@given(code=cells)
def test_a_cell_is_its_parts(code) -> None:
    cell = CellCode(code)
    assert cell == code
    assert "".join(cell.parts.values()) == code
    assert cell.parent == cell.community == code[:12]
    assert (cell.district, cell.street) == (code[:6], code[:9])
    assert CellCode.of(cell.community, cell.serial, digits=len(code)) == cell
    assert cell.edition == {14: "CJ/T 213-2005", 15: "GB/T 30428.1-2013"}[len(code)]
    assert CellCode.parse(f" {cell.spaced}\u3000") == cell
    assert pickle.loads(pickle.dumps(cell)) == cell
    assert type(pickle.loads(pickle.dumps(cell))) is CellCode


@given(code=components)
def test_a_component_is_its_parts(code) -> None:
    component = ComponentCode(code)
    assert "".join(component.parts.values()) == code
    assert ComponentCode.of(component.district, component.class_code, component.serial) == component
    assert component.class_code == "C" + code[6:-6]
    assert component.class_code.startswith(component.major_code)
    assert component.parent == code[:6]
    assert ComponentCode.parse(component.spaced) == component


@given(community=communities, used=st.sets(st.integers(1, 990), max_size=30))
def test_a_free_cell_number_was_never_used(community, used) -> None:
    codes = {CellCode.of(community, serial) for serial in used}
    strangers = {community[:-1] + ("1" if community[-1] != "1" else "2") + "999", community + "99"}
    first = CellCode.next_free(community, codes | strangers)
    assert first not in codes
    assert first.serial == max(used, default=0) + 1
    second = CellCode.next_free(community, codes | {first})
    assert second > first


def test_full_parents_are_an_error_even_with_gaps() -> None:
    with pytest.raises(Invalid, match="no serial 1000"):
        CellCode.next_free("610902001001", ["610902001001999"])
    with pytest.raises(Invalid, match="no serial 100"):
        CellCode.next_free("610902001001", ["61090200100199"], digits=14)
    with pytest.raises(Invalid, match="999999"):
        ComponentCode.next_free("610902", "C0101", ["6109020101999999"])
    assert ComponentCode.next_free("610902", "C01001", ["6109020101999999"]) == "61090201001000001"


def test_examples_of_the_standards() -> None:
    assert CellCode("610902001001001").spaced == "610902 001 001 001"
    assert ComponentCode("3205080101000001").class_code == "C0101"
    assert ComponentCode("61090201001000001").class_code == "C01001"
    assert AreaCode.of_statistics("610902001000") == "610902001"
    assert AreaCode.of_statistics("610900000000") == "6109"
    assert AreaCode.of_statistics("610900") == "6109"
    assert AreaCode.of_statistics("610902001003") == "610902001003"
    assert AreaCode.of_statistics("610902000000").level == "district"
    assert AreaCode.parse("６１０９-02") == "610902"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (AreaCode, ""),
        (AreaCode, "61"),
        (AreaCode, "610900"),  # the city, not a district
        (AreaCode, "610902000"),
        (AreaCode, "610902001000"),
        (AreaCode, "61090A"),
        (AreaCode, "６１０９"),  # full width: only parse takes it
        (AreaCode, "6109 "),
        (AreaCode, "-109"),
        (CellCode, "610902001001"),
        (CellCode, "610902001001000"),
        (CellCode, "6109020010010001"),
        (CellCode, 610902001001001),
        (CellCode, 6.10902001001e14),
        (CellCode, None),
        (ComponentCode, "6109020101000000"),
        (ComponentCode, "6109020001000001"),
        (ComponentCode, "610902010100001"),
    ],
)
def test_wrong_codes_are_refused(kind, text) -> None:
    with pytest.raises(Invalid) as refusal:
        kind(text)
    assert refusal.value.zh
    with pytest.raises(Invalid):
        kind.parse(text if not isinstance(text, str) else text[:3])


def test_wrong_parents_and_classes_are_refused() -> None:
    with pytest.raises(Invalid):
        CellCode.of("610902001", 1)
    with pytest.raises(Invalid):
        CellCode.of("610902001001", 0)
    with pytest.raises(Invalid, match="13 digits"):
        CellCode.of("610902001001", 1, digits=13)
    with pytest.raises(Invalid, match="E0101"):
        ComponentCode.of("610902", "E0101", 1)
    with pytest.raises(Invalid):
        AreaCode("6109").at("district")
    with pytest.raises(Invalid):
        AreaCode("610902").at("ward")
