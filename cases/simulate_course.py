"""What becomes of the reports of a simulated city: who sees them, what they say, how far they get, and when.

The times are consistent with the limit of the filing condition and the work calendar; coordinates are given as a
channel would give them, scattered by its accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from cases.simulate_days import Days
from cases.worktime import WorkCalendar
from grids.simulate_frame import to_lon_lat
from layers.simulate import duties_of
from layers.simulate_site import Site, left_of

STAGES_BEFORE_DISPATCH = ("reported", "verifying", "accepted", "filed")
STAGES_AFTER_DISPOSAL = ("disposed", "awaiting_check", "checking", "checked")
SMALL_NUISANCES = ("E0201", "E0511", "E2101", "E0109", "E0204")  #: what a collector removes on the spot
VERIFIED = ("public", "web", "video")  #: channels whose reports a collector looks at first


def through_channels(
    profile: Mapping[str, Any], frame: pd.DataFrame, days: Days, rng: np.random.Generator
) -> pd.DataFrame:
    """Who saw it: by hour, and fewer on free days; what nobody reports is left out (planted ones stay)."""
    plan = profile["simulation"]["channel"]
    local = frame["reported_at"].dt.tz_convert(days.zone)
    awake = local.dt.hour.between(7, 19).to_numpy()
    draw = rng.random(len(frame))
    number = np.where(
        awake,
        np.searchsorted(np.cumsum(plan["day"])[:-1], draw, side="right"),
        np.searchsorted(np.cumsum(plan["night"])[:-1], draw, side="right"),
    )
    day = ((local.dt.tz_localize(None).dt.normalize() - days.day[0]).dt.days).to_numpy()
    stays = np.ones(len(frame))
    stays[days.weekend[day]] = np.asarray(plan["weekend"])[number[days.weekend[day]]]
    stays[days.holiday[day]] = np.asarray(plan["holiday"])[number[days.holiday[day]]]
    kept = (rng.random(len(frame)) < stays) | frame["planted"].to_numpy()
    named = frame.assign(channel=np.asarray(plan["names"], dtype=object)[number])
    heard: pd.DataFrame = named[kept].reset_index(drop=True)
    return heard


def with_conditions(frame: pd.DataFrame, conditions: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A filing condition for each report: the first ones of a class, and dirt and damage, are the frequent ones."""
    table = conditions.assign(no=conditions["no"].astype(int)).sort_values(["class_code", "no"])
    weight = 1 / np.sqrt(table["no"].to_numpy())
    weight = weight * np.where(table["condition_zh"].str.contains("不亮|不洁|破损|堵塞|缺失"), 2.2, 1.0)
    weight = weight * np.where(table["limit_basis"] == "urgent_hour", 0.6, 1.0)
    drawn = np.zeros(len(frame), dtype=np.int64)
    rank = rng.random(len(frame))
    by_class = frame.groupby("class_code").indices
    for code, lines in table.assign(weight=weight).groupby("class_code"):
        rows = by_class.get(code)
        if rows is not None:
            edges = np.cumsum(lines["weight"].to_numpy() / lines["weight"].sum())[:-1]
            drawn[rows] = lines["no"].to_numpy()[np.searchsorted(edges, rank[rows], side="right")]
    limits = table.set_index(["class_code", "no"])[["condition_zh", "limit_value", "limit_basis"]]
    frame = frame.assign(condition_no=drawn)
    return frame.join(limits, on=["class_code", "condition_no"])


def with_course(
    profile: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    frame: pd.DataFrame,
    calendar: WorkCalendar,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Dispatch, deadline, disposal, close and stage of each report, as known at the end of the period."""
    plan = profile["simulation"]["reports"]
    count = len(frame)
    duty = duties_of(tables["classes"]["code"], tables["duties"])["city_unit"].set_axis(tables["classes"]["code"])
    unit = pd.factorize(frame["class_code"].map(duty), sort=True)
    slowness = rng.normal(0, 0.22, len(unit[1]))[unit[0]]
    slowness -= slowness.mean()
    minutes = rng.gamma(3.0, 9.0, count) + 6
    minutes = minutes + np.where(frame["channel"].isin(VERIFIED), rng.gamma(2.5, 14.0, count), 0)
    reported = pd.DatetimeIndex(frame["reported_at"])
    dispatched = (reported + pd.to_timedelta(np.round(minutes * 60), unit="s")).as_unit("us")
    basis = frame["limit_basis"].to_numpy(dtype=object)
    value = frame["limit_value"].astype(float).to_numpy()
    due = calendar.due_for(dispatched, value, basis)
    used = np.minimum(rng.lognormal(-0.75 + slowness, 0.63), 5.0)
    disposed = calendar.due_for(dispatched, value * used, basis)
    checked = pd.DatetimeIndex(disposed + pd.to_timedelta(np.round(rng.lognormal(9.0, 0.8, count)), unit="s"))
    end = pd.Timestamp(plan["to_on"], tz=profile["timezone"]) + pd.DateOffset(days=1)
    end = end.tz_convert("UTC")
    stage = np.full(count, "closed", dtype=object)
    fate = rng.random(count)
    late = np.asarray(reported >= end - pd.Timedelta(days=plan["stalled_days"]))
    stage[late & (rng.random(count) < plan["stalled_share"])] = "stalled"
    stage[fate < plan["refused_share"]] = "refused"
    stage[(fate >= plan["refused_share"]) & (fate < plan["refused_share"] + plan["void_share"])] = "void"
    small = frame["class_code"].isin(SMALL_NUISANCES).to_numpy() & (frame["channel"] == "collector").to_numpy()
    by_self = small & (stage == "closed") & (rng.random(count) < plan["self_disposed_share"])
    going = np.isin(stage, ("closed", "stalled")) & ~by_self
    before = rng.choice(STAGES_BEFORE_DISPATCH, count)
    after = rng.choice(STAGES_AFTER_DISPOSAL, count)
    stuck = (stage == "stalled") & going
    where = rng.random(count)
    cut = [
        going & (np.asarray(dispatched > end) | (stuck & (where < 0.3))),
        going & (np.asarray(disposed > end) | (stuck & (where < 0.75))),
        going & (np.asarray(checked > end) | stuck),
    ]
    stage = np.select([cut[0], cut[1], cut[2]], [before, "dispatched", after], default=stage)
    recent = np.asarray(reported > end - pd.Timedelta(days=7))
    stage[by_self & recent] = "self_disposed"
    done = np.isin(stage, ("closed", *STAGES_AFTER_DISPOSAL)) & ~by_self
    note = np.full(count, None, dtype=object)
    note[by_self] = "采集员自处理"
    quick = pd.DatetimeIndex(reported + pd.to_timedelta(np.round(minutes * 60), unit="s"))
    missing = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")

    def where_known(at: Any, known: Any) -> pd.Series:
        return pd.Series(pd.DatetimeIndex(at).as_unit("us"), index=frame.index).where(known, missing)

    closed = where_known(checked, (stage == "closed") & ~by_self).fillna(
        where_known(quick, (stage == "closed") & by_self)
    )
    return frame.assign(
        due_at=where_known(due, done | (stage == "dispatched")),
        dispatched_at=where_known(dispatched, done | (stage == "dispatched")),
        inspected_at=missing,
        disposed_at=where_known(disposed, done),
        closed_at=closed,
        stage=stage,
        note=note,
    )


def with_words(
    frame: pd.DataFrame, tables: Mapping[str, pd.DataFrame], site: Site, areas: gpd.GeoDataFrame
) -> pd.DataFrame:
    """Address and description, from the nearest street."""
    streets = site.streets[site.streets["name_zh"].notna()].reset_index(drop=True)
    points = shapely.points(frame[["x", "y"]].to_numpy())
    lines = np.asarray(streets.geometry.array)
    nearest = shapely.STRtree(lines).nearest(points)
    number = (shapely.line_locate_point(lines[nearest], points) / 9).astype(np.int64) * 2 + 1
    street = streets["name_zh"].to_numpy()[nearest]
    district = areas.loc[areas["code"].str.len() == 6, "name_zh"].iloc[0]
    address = pd.Series(street, index=frame.index) + pd.Series(number, index=frame.index).astype(str)
    name = frame["class_code"].map(tables["classes"].set_index("code")["name_zh"])
    who = frame["channel"].map(
        {
            "collector": "巡查发现",
            "public": "市民来电反映",
            "web": "网上举报",
            "video": "视频巡查发现",
            "leader": "领导交办",
        }
    )
    return frame.assign(
        address=district + address + "号附近",
        description=who.fillna("转来") + street + "附近" + name + "：" + frame["condition_zh"],
    )


def as_received(
    profile: Mapping[str, Any], frame: pd.DataFrame, areas: gpd.GeoDataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Coordinates as the channel gives them: scattered, in degrees or metres, and some of them wrong."""
    plan = profile["simulation"]["channel"]
    channel = frame["channel"].map({name: n for n, name in enumerate(plan["names"])}).to_numpy(dtype=np.int64)
    scatter = np.asarray(plan["scatter_m"])[channel] * rng.lognormal(0, 0.3, len(frame))
    true = frame[["x", "y"]].to_numpy()
    communities = areas[areas["code"].str.len() == 12].reset_index(drop=True)
    label = np.full(len(frame), None, dtype=object)
    of_point, of_area = shapely.STRtree(np.asarray(communities.geometry.array)).query(
        shapely.points(true), predicate="intersects"
    )
    label[of_point[::-1]] = communities["code"].to_numpy()[of_area[::-1]]
    label[channel != 0] = None
    xy = true + rng.normal(0, 1, true.shape) * (scatter / np.sqrt(2))[:, None]
    bad = np.flatnonzero(rng.random(len(frame)) < profile["simulation"]["reports"]["bad_share"])
    city = areas.loc[areas["code"].str.len().idxmin()].geometry
    far = rng.random(len(bad)) < 0.4
    angle = rng.uniform(0, 2 * np.pi, len(bad))
    xy[bad[far]] += (np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(9e3, 4e4, len(bad))[:, None])[far]
    ring = city.exterior if city.geom_type == "Polygon" else city.convex_hull.exterior
    at = rng.uniform(0, ring.length, len(bad))
    on, ahead = (shapely.get_coordinates(shapely.line_interpolate_point(ring, at + d)) for d in (0.0, 0.5))
    way = (ahead - on) / np.maximum(np.hypot(*(ahead - on).T), 1e-9)[:, None]
    beyond = on + left_of(way) * rng.uniform(2, 60, len(bad))[:, None]
    inside = shapely.contains_xy(city, beyond)
    beyond[inside] = 2 * on[inside] - beyond[inside]
    xy[bad[~far]] = beyond[~far]
    still = shapely.contains_xy(city, xy[bad])
    note = frame["note"].to_numpy(dtype=object).copy()
    note[bad[far]] = "模拟：坐标错误，位于城区之外 (simulated: place outside of the city)"
    note[bad[~far]] = "模拟：位于城区边界外侧 (simulated: place just beyond the border)"
    note[bad[still]] = frame["note"].to_numpy(dtype=object)[bad[still]]
    component = frame["component_code"].to_numpy(dtype=object).copy()
    component[bad[~far]] = None  # who stands beyond the border does not read the plate of a lamp in the city
    geodetic = rng.random(len(frame)) < np.asarray(plan["geodetic_share"])[channel]
    lon_lat = to_lon_lat(xy, profile["srid"])
    given = np.where(geodetic[:, None], np.round(lon_lat, 7), np.round(xy, 2))
    return frame.assign(
        x=given[:, 0],
        y=given[:, 1],
        srid=np.where(geodetic, 4490, profile["srid"]),
        accuracy_m=np.round(scatter * rng.uniform(0.9, 1.6, len(frame)), 1),
        component_code=component,
        area_label=label,
        note=note,
    )
