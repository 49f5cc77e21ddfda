"""The layers of a simulated city: units, collectors with their responsibility grids, and components."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from gis.errors import Invalid
from grids.coverage import shared_sides
from layers.simulate_components import place_components
from layers.simulate_site import Site

Progress = Callable[[str, float], None]

STATES = {"intact": 0.969, "damaged": 0.02, "lost": 0.003, "abandoned": 0.006, "removed": 0.002}
SURVEYED_FROM, SURVEY_DAYS = "2024-03-04", 590  #: first day and length of the simulated census


def simulate_layers(
    profile: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    areas: gpd.GeoDataFrame,
    barriers: gpd.GeoDataFrame,
    cells: gpd.GeoDataFrame,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, gpd.GeoDataFrame]:
    """The frames units, collectors, responsibility and components.

    tables : units, classes, placement, duties as read from the city's lists, all text
    Raises Invalid if a component class has no line in placement.csv, or an unknown place.
    """
    progress("collectors | 责任网格", 0.0)
    units = tables["units"].copy()
    responsibility = responsibility_grids(profile, areas, cells)
    collectors = _collectors(responsibility, units)
    walks = dict(zip(responsibility["code"].drop_duplicates(), collectors["code"], strict=True))
    responsibility["collector_code"] = responsibility["code"].map(walks)
    components = simulate_components(profile, tables, Site.of(profile, areas, barriers), rng, progress)
    progress("components | 部件", 1.0)
    return units, collectors, responsibility, components


def responsibility_grids(profile: Mapping[str, Any], areas: gpd.GeoDataFrame, cells: gpd.GeoDataFrame) -> pd.DataFrame:
    """Responsibility grids: connected sets of cells of one community, or of neighbours in one street.

    Returns code (street 9 digits + "R" + 3 digits), name_zh, name_en, cell_code: one row per cell.
    """
    wanted = int(profile["simulation"]["responsibility"]["cells"])
    i, j, _ = shared_sides(np.asarray(cells.geometry.array, dtype=object))
    beside: list[set[int]] = [set() for _ in range(len(cells))]
    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        beside[a].add(b)
        beside[b].add(a)
    middle = shapely.get_coordinates(shapely.centroid(cells.geometry.array))
    community = cells["code"].str[:12].to_numpy()
    group = np.full(len(cells), -1)
    for code in np.unique(community):
        _grow(np.flatnonzero(community == code), beside, middle, group, wanted)
    street = cells["code"].str[:9].to_numpy()
    _join_small(group, beside, street, wanted * 3 // 5)
    frame = pd.DataFrame({"cell_code": cells["code"].to_numpy(), "group": group, "street": street})
    first = frame.groupby("group")["cell_code"].min().rename("first")
    frame = frame.join(first, on="group").sort_values(["first", "cell_code"], ignore_index=True)
    order = frame.drop_duplicates("group")[["street", "group"]]
    serial = (order.groupby("street").cumcount() + 1).set_axis(order["group"])
    number = frame["group"].map(serial)
    names = areas.set_index("code")[["name_zh", "name_en"]]
    street_zh, street_en = frame["street"].map(names["name_zh"]), frame["street"].map(names["name_en"])
    return pd.DataFrame(
        {
            "code": frame["street"] + "R" + number.astype(str).str.zfill(3),
            "name_zh": street_zh + "第" + number.astype(str) + "责任网格（模拟）",
            "name_en": street_en + " responsibility grid " + number.astype(str) + " (simulated)",
            "cell_code": frame["cell_code"],
        }
    )


def _grow(rows: Any, beside: list[set[int]], middle: Any, group: Any, wanted: int) -> None:
    """Number connected groups of about ``wanted`` of the rows, from the south-west corner on."""
    left = set(rows.tolist())
    size = max(1, round(len(rows) / max(1, round(len(rows) / wanted))))
    number = int(group.max()) + 1
    while left:
        seed = min(left, key=lambda row: (middle[row].sum(), row))
        members, reach = [seed], {other for other in beside[seed] if other in left}
        left.discard(seed)
        while reach and len(members) < size:
            centre = middle[members].mean(axis=0)
            best = min(reach, key=lambda row: (round(float(np.hypot(*(middle[row] - centre))), 3), row))
            members.append(best)
            left.discard(best)
            reach = (reach | beside[best]) & left
        group[members] = number
        number += 1


def _join_small(group: Any, beside: list[set[int]], street: Any, smallest: int) -> None:
    """Give groups below the smallest size to the smallest neighbouring group of the same street."""
    alone: set[int] = set()
    while True:
        size = np.bincount(group)
        small = [g for g in np.flatnonzero((size > 0) & (size < smallest)).tolist() if g not in alone]
        if not small:
            return
        chosen = min(small, key=lambda g: (size[g], g))
        rows = np.flatnonzero(group == chosen)
        near = {
            int(group[other])
            for row in rows
            for other in beside[row]
            if street[other] == street[row] and group[other] != chosen
        }
        if near:
            group[rows] = min(near, key=lambda g: (size[g], g))
        else:
            alone.add(chosen)


def _collectors(responsibility: pd.DataFrame, units: pd.DataFrame) -> pd.DataFrame:
    """One collector for each responsibility grid, employed by the supervision centre."""
    centre = units.loc[units["kind"] == "supervision_centre", "code"]
    grids = responsibility["code"].drop_duplicates().reset_index(drop=True)
    number = (grids.index + 1).astype(str).str.zfill(3)
    return pd.DataFrame(
        {
            "code": "K" + number,
            "name_zh": "信息采集员" + number + "（模拟）",
            "name_en": "collector " + number + " (simulated)",
            "unit_code": centre.iloc[0] if len(centre) else None,
        }
    )


def duties_of(class_codes: pd.Series, duties: pd.DataFrame) -> pd.DataFrame:
    """The line of duties.csv with the longest prefix for each class code; Invalid for a class without one."""
    lines = {str(row["class_prefix"]): row for row in duties.to_dict("records")}
    found = []
    for code in class_codes:
        prefix = next((code[:n] for n in range(len(code), -1, -1) if code[:n] in lines), None)
        if prefix is None:
            raise Invalid(
                f"No line of duties.csv fits class {code}.", f"duties.csv 中没有适用于 {code} 的行。", file="duties.csv"
            )
        found.append(lines[prefix])
    return pd.DataFrame(found, index=class_codes.index)


def simulate_components(
    profile: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    site: Site,
    rng: np.random.Generator,
    progress: Progress,
) -> gpd.GeoDataFrame:
    """The component inventory, class by class; codes are district 6 + class 4 + serial 6.

    The serial runs from north to south within the class and district. Raises Invalid as :func:`simulate_layers`.
    """
    classes = tables["classes"]
    classes = classes[classes["code"].str.startswith("C")].sort_values("code")
    plan = tables["placement"].set_index("class_code")
    missing = sorted(set(classes["code"]) - set(plan.index))
    if missing:
        raise Invalid(
            f"No line of placement.csv for {', '.join(missing)}.", f"placement.csv 缺少：{'、'.join(missing)}。"
        )
    duties = duties_of(classes["code"], tables["duties"])
    district = profile["districts"][0]
    frames = []
    generators = rng.spawn(len(classes))
    for number, (code, name_zh) in enumerate(zip(classes["code"], classes["name_zh"], strict=True)):
        progress("components | 部件", number / len(classes))
        draw, line = generators[number], plan.loc[code].to_dict()
        geometry = place_components(site, line, draw)
        at = shapely.get_coordinates(shapely.point_on_surface(geometry))
        geometry = geometry[np.lexsort((at[:, 0], -at[:, 1]))]
        count, duty = len(geometry), duties.iloc[number]
        serial = pd.Series(np.arange(1, count + 1)).astype(str).str.zfill(6)
        day = pd.Timestamp(SURVEYED_FROM) + pd.to_timedelta(np.sort(draw.integers(0, SURVEY_DAYS, count)), unit="D")
        frames.append(
            pd.DataFrame(
                {
                    "code": f"{district}{code[1:]}" + serial,
                    "class_code": code,
                    "name_zh": name_zh,
                    "supervising_unit": duty["supervising_unit"] or None,
                    "owner_unit": _known(duty["owner_unit"], duty["owner_known"], count, draw),
                    "maintainer_unit": _known(duty["maintainer_unit"], duty["maintainer_known"], count, draw),
                    "state": draw.choice(list(STATES), count, p=list(STATES.values())),
                    "surveyed_on": day.date,
                    "data_source": profile["simulation"]["data_source"],
                    "attrs": _attributes(str(line["attributes"]), count, draw),
                    "geometry": geometry,
                }
            )
        )
    return gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), geometry="geometry", crs=profile["srid"])


def _known(unit: str, share: str, count: int, rng: np.random.Generator) -> NDArray[np.object_]:
    """The unit where the inventory knows it, else None."""
    column = np.full(count, None, dtype=object)
    if unit:
        column[rng.random(count) < float(share)] = unit
    return column


def _attributes(text: str, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Attributes drawn from ``name=value|value;name=…``; numbers as numbers."""
    drawn: list[dict[str, Any]] = [{} for _ in range(count)]
    for part in filter(None, text.split(";")):
        name, _, values = part.partition("=")
        choices: list[Any] = []
        for value in values.split("|"):
            plain = value.replace(".", "", 1).isdigit()
            choices.append((float(value) if "." in value else int(value)) if plain else value)
        for row, pick in enumerate(rng.integers(0, len(choices), count)):
            drawn[row][name] = choices[pick]
    return drawn
