"""A year of reports in a simulated city: what, where, when, through which channel, and how far it got.

Rates follow the lists: a weight for each class (``demand.csv``) and, from ``city.toml``, hours, months, weather
and holidays. Some streets have more trouble than others, and the planted hot spots add theirs. The times of a
report are consistent with the limit of its filing condition and the work calendar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from cases.reports import REPORT_COLUMNS
from cases.simulate_course import as_received, through_channels, with_conditions, with_course, with_words
from cases.simulate_days import Days
from cases.worktime import WorkCalendar
from gis.errors import Invalid
from grids.simulate_frame import density, to_city
from layers.simulate_components import place_components
from layers.simulate_site import Site, along, left_of, random_in

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _pools(site: Site, rng: np.random.Generator) -> dict[str, tuple[Floats, Floats]]:
    """For every kind of place in demand.csv the possible points and their weights."""
    of_kind = {name: child for name, child in zip(_POOL_NAMES, rng.spawn(len(_POOL_NAMES)), strict=True)}
    pools: dict[str, tuple[Floats, Floats]] = {}

    def by_street(name: str, grades: str, every_m: float, inset_m: float, power: float) -> None:
        draw = of_kind[name]
        streets = site.of_grades(grades)
        which, at, way, nth = along(np.asarray(streets.geometry.array), every_m, draw)
        side = np.where((nth + which) % 2 == 0, 1.0, -1.0)
        xy = at + left_of(way) * (side * (streets["width_m"].to_numpy()[which] / 2 - inset_m))[:, None]
        trouble = draw.lognormal(0, 0.75, len(streets))[which] * draw.lognormal(0, 0.35, len(which))
        grade = streets["grade"].map({"arterial": 1.3, "street": 1.0, "lane": 0.8}).to_numpy()[which]
        weight = trouble * grade * (0.04 + density(site.profile, xy)) ** power
        dry = site.dry(xy)
        pools[name] = (xy[dry], weight[dry])

    by_street("street", "arterial street", 14, 2.0, 1.0)
    by_street("road", "arterial street lane", 16, 3.3, 0.8)
    by_street("lane", "lane", 12, 1.0, 1.0)
    by_street("shop", "arterial street", 9, 0.8, 1.9)
    by_street("edge", "street lane", 30, 1.0, 0.5)
    by_street("food", "street lane", 10, 1.0, 1.5)
    xy, weight = pools["edge"]
    outer = density(site.profile, xy) < 0.3
    pools["edge"] = (xy[outer], weight[outer])
    xy, weight = pools["food"]  # eating streets: a few of them have it all
    pools["food"] = (xy, weight**2.2)
    for name, count in (("front", "2600"), ("compound", "2600")):
        line = {"place": name, "count": count, "grades": "", "sides": "1", "every_m": "", "size_m": ""}
        xy = shapely.get_coordinates(place_components(site, line, of_kind[name]))
        pools[name] = (xy, of_kind[name].lognormal(0, 0.8, len(xy)))
    draw = of_kind["park"]
    xy = random_in(site.greens[shapely.area(site.greens) > 800], 2500, draw)
    xy = xy[site.dry(xy)]
    pools["park"] = (xy, draw.lognormal(0, 0.4, len(xy)) * (0.1 + density(site.profile, xy)))
    line = {"place": "bank", "every_m": "15", "grades": "", "sides": "1", "count": "", "size_m": ""}
    xy = shapely.get_coordinates(place_components(site, line, of_kind["bank"]))
    pools["bank"] = (xy, of_kind["bank"].lognormal(0, 0.7, len(xy)) * (0.1 + density(site.profile, xy)))
    draw = of_kind["site"]
    xy, weight = pools["street"]
    works = xy[draw.choice(len(xy), 28, replace=False)]
    near = works[draw.integers(0, len(works), 2400)] + draw.normal(0, 38, (2400, 2))
    near = near[site.dry(near)]
    pools["site"] = (near, np.ones(len(near)))
    return pools


_POOL_NAMES = ("street", "road", "lane", "shop", "edge", "food", "front", "compound", "park", "bank", "site")


def simulate_reports(
    profile: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    areas: gpd.GeoDataFrame,
    barriers: gpd.GeoDataFrame,
    components: gpd.GeoDataFrame,
    calendar: WorkCalendar,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frames reports (as received, sorted by time) and truth (the planted hot spots).

    tables : demand, conditions, classes, duties, units as read from the city's lists, all text
    truth  : id, name_zh, name_en, x, y (city's metres), radius_m, class_prefix, from_at, to_at (UTC, half-open),
             cases (how many reports were planted on top of the ordinary ones)
    Raises Invalid for an unknown place, season or channel in the lists, or a period the calendar does not cover.
    """
    draws = dict(zip(("days", "pools", "base", "spots", "more"), rng.spawn(5), strict=True))
    site = Site.of(profile, areas, barriers)
    days = Days(profile, calendar, draws["days"])
    pools = _pools(site, draws["pools"])
    base = _ordinary(profile, tables, components, days, pools, draws["base"])
    spots, truth = _hot_spots(profile, tables, barriers, days, pools, draws["spots"])
    frame = pd.concat([base, spots], ignore_index=True)
    draw = draws["more"]
    frame = through_channels(profile, frame, days, draw)
    frame = frame.sort_values(["reported_at", "class_code", "x"], ignore_index=True)
    frame = with_conditions(frame, tables["conditions"], draw)
    frame = with_course(profile, tables, frame, calendar, draw)
    frame = with_words(frame, tables, site, areas)
    frame = as_received(profile, frame, areas, draw)
    serial = frame.groupby("channel", sort=False).cumcount() + 1
    local_day = frame["reported_at"].dt.tz_convert(profile["timezone"]).dt.strftime("%Y%m%d")
    frame["key"] = frame["channel"].str[:1].str.upper() + local_day + "-" + serial.astype(str).str.zfill(6)
    frame["unit_label"] = None
    frame["data_source"] = profile["simulation"]["data_source"]
    return frame[REPORT_COLUMNS], truth


def _moments(days: Days, day: Ints, hours: Any, rng: np.random.Generator) -> pd.DatetimeIndex:
    """Aware instants on the given days, at hours drawn with the given 24 weights."""
    weight = np.asarray(hours, dtype=np.float64)
    hour = rng.choice(24, len(day), p=weight / weight.sum())
    second = hour * 3600 + rng.integers(0, 3600, len(day))
    local = days.day[day] + pd.to_timedelta(second, unit="s")
    return pd.DatetimeIndex(local).tz_localize(days.zone).tz_convert("UTC").as_unit("us")


def _ordinary(
    profile: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    components: gpd.GeoDataFrame,
    days: Days,
    pools: Mapping[str, tuple[Floats, Floats]],
    rng: np.random.Generator,
) -> pd.DataFrame:
    plan = profile["simulation"]
    demand = tables["demand"].sort_values("class_code", ignore_index=True)
    weight = demand["weight"].astype(float).to_numpy()
    counts = rng.multinomial(plan["reports"]["count"], weight / weight.sum())
    frames = []
    place_of = shapely.get_coordinates(shapely.point_on_surface(np.asarray(components.geometry.array)))
    trouble = rng.lognormal(0, 0.6, len(components)) * (0.15 + density(profile, place_of))
    trouble[(components["state"] == "removed").to_numpy()] = 0
    classes = components["class_code"].to_numpy()
    codes = components["code"].to_numpy()
    for row, count, draw in zip(demand.to_dict("records"), counts, rng.spawn(len(demand)), strict=True):
        day = draw.choice(len(days.day), count, p=days.weights(row["season"], plan["season"]))
        code = np.full(count, None, dtype=object)
        if row["place"] == "component":
            known = np.flatnonzero(classes == row["class_code"])
            if not len(known):
                continue
            share = trouble[known] / trouble[known].sum()
            pick = known[draw.choice(len(known), count, p=share)]
            xy, code = place_of[pick], codes[pick]
        else:
            xy = _drawn(pools, str(row["place"]), count, draw)
        frames.append(
            pd.DataFrame(
                {
                    "class_code": row["class_code"],
                    "component_code": code,
                    "x": xy[:, 0],
                    "y": xy[:, 1],
                    "reported_at": _moments(days, day, plan["hours"][row["hours"]], draw),
                    "planted": False,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _drawn(pools: Mapping[str, tuple[Floats, Floats]], name: str, count: int, rng: np.random.Generator) -> Floats:
    if name not in pools:
        raise Invalid(f"demand.csv names an unknown place {name!r}.", f"demand.csv 中有未知的位置类型 {name!r}。")
    xy, weight = pools[name]
    pick = rng.choice(len(xy), count, p=weight / weight.sum())
    return np.asarray(xy[pick] + rng.normal(0, 1.2, (count, 2)))


def _hot_spots(
    profile: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    barriers: gpd.GeoDataFrame,
    days: Days,
    pools: Mapping[str, tuple[Floats, Floats]],
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    demand = tables["demand"].set_index("class_code")
    frames, truth = [], []
    spots = profile["simulation"].get("hot_spot", [])
    for spot, draw in zip(spots, rng.spawn(len(spots)), strict=True):
        centre = to_city([[spot["lon"], spot["lat"]]], profile["srid"])[0]
        if "at_barrier_zh" in spot:
            named = barriers[(barriers["name_zh"] == spot["at_barrier_zh"]).to_numpy()]
            if len(named):
                centre = shapely.get_coordinates(shapely.centroid(named.geometry.array[0]))[0]
        code, radius = spot["class_prefix"], float(spot["radius_m"])
        xy, weight = pools[str(demand.loc[code, "place"])]
        distance = np.hypot(*(xy - centre).T)
        near = np.flatnonzero(distance < radius)
        if len(near) < 5:
            xy, weight = pools["road"]
            distance = np.hypot(*(xy - centre).T)
            near = np.flatnonzero(distance < radius)
        if not len(near):
            raise Invalid(
                f"Hot spot {spot['id']} lies where nothing can happen.", f"热点 {spot['id']} 的位置没有可用的地点。"
            )
        share = np.sqrt(weight[near]) * np.exp(-((distance[near] / radius) ** 2))
        inside = (days.day >= spot["from_on"]) & (days.day <= spot["to_on"])
        by_day = days.weights(str(demand.loc[code, "season"]), profile["simulation"]["season"]) * inside
        day = draw.choice(len(days.day), spot["cases"], p=by_day / by_day.sum())
        place = xy[near[draw.choice(len(near), spot["cases"], p=share / share.sum())]]
        place = place + draw.normal(0, 1.5, place.shape)
        frames.append(
            pd.DataFrame(
                {
                    "class_code": code,
                    "component_code": None,
                    "x": place[:, 0],
                    "y": place[:, 1],
                    "reported_at": _moments(days, day, profile["simulation"]["hours"][spot["hours"]], draw),
                    "planted": True,
                }
            )
        )
        edges = pd.DatetimeIndex([spot["from_on"], spot["to_on"]]).tz_localize(days.zone)
        truth.append(
            {
                "id": spot["id"],
                "name_zh": spot["name_zh"] + "（模拟）",
                "name_en": spot["name_en"] + " (simulated)",
                "x": centre[0],
                "y": centre[1],
                "radius_m": radius,
                "class_prefix": code,
                "from_at": edges[0].tz_convert("UTC"),
                "to_at": (edges[1] + pd.DateOffset(days=1)).tz_convert("UTC"),
                "cases": int(spot["cases"]),
            }
        )
    if not frames:
        raise Invalid("city.toml plants no hot spot.", "city.toml 中没有设置热点。")
    return pd.concat(frames, ignore_index=True), pd.DataFrame(truth)
