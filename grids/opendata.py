"""Where, from a city's open data: the nested areas and the ground.

A city of this kind is a folder with a ``city.toml`` and tables; nothing here knows a city by name. The three
levels are rebuilt from one noded linework (the outlines of the coarsest and of the finest layer together, on
the 2**-10 m lattice of the database), so that neighbours share their vertices exactly and every level is the
union of the level below. The middle level follows from an attribute of the finest one; a city that has none
gets one area (``key_value``) of that level in each district.

This stops working where the finest layer leaves a real part of the coarsest one uncovered: that is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from grids.coverage import shared_sides
from grids.opendata_files import Finding, Profile, finding, read_layer, unfit

Progress = Callable[[str, float], None]

LATTICE_M = 2.0**-10  #: the database's lattice of coordinates (architecture, section 4)

AREA_COLUMNS = ["code", "name_zh", "name_en", "data_source", "geometry"]
GROUND_COLUMNS = ["kind", "grade", "name_zh", "name_en", "width_m", "data_source", "geometry"]


def owner_of(points: NDArray[Any], areas: gpd.GeoDataFrame) -> NDArray[np.object_]:
    """Code of the area in which each point lies, None outside; on a shared border the lowest code.

    points: shapely points in the CRS of ``areas`` (columns code, geometry). Missing points get None.
    """
    owners = np.full(len(points), None, dtype=object)
    tree = shapely.STRtree(points)
    for row in areas.sort_values("code", ascending=False).itertuples():
        owners[tree.query(row.geometry, predicate="intersects")] = row.code
    return owners


def build_areas(profile: Profile, source: Path) -> tuple[gpd.GeoDataFrame, list[Finding]]:
    """City, districts, streets and communities that tile exactly, from the layers named in ``[areas]``.

    The finest layer (``[[areas.level]]`` community) is cut at the borders of the coarsest (district), so a
    community that straddles a district becomes one community in each. A piece below ``smallest_m2`` is a
    sliver: it goes to the neighbour in the same district with the longest shared border, so that district
    borders stay where they are. Codes: city 4 digits + rank 2, 3, 3 within the parent by the source's keys.
    Returns the frame (projected, metres, on the 2**-10 m lattice) and the findings.
    """
    spec = profile["areas"]
    levels = {level["name"]: level for level in spec["level"]}
    top, middle, low = levels["district"], levels["street"], levels["community"]
    found: list[Finding] = []
    coarse = _polygons(profile, source, top, [], found)
    if "layer" in middle:
        names = set(_polygons(profile, source, middle, [], found)["key"])
        fine = _polygons(profile, source, low, [low["parent"]], found)
    else:
        names = {middle["key_value"]}
        fine = _polygons(profile, source, low, [], found).assign(parent=middle["key_value"])
    strange = sorted(set(fine["parent"]) - names)
    if strange:
        raise unfit(
            source / spec["file"],
            low["layer"],
            f"names areas that layer {middle['layer']} does not have: {', '.join(strange)}",
            f"所属的上级在图层 {middle['layer']} 中不存在：{'、'.join(strange)}",
            field=low["parent"],
        )
    pieces, slivers = _pieces(coarse, fine, float(spec["smallest_m2"]), source / spec["file"], low["layer"])
    pieces["street"] = pieces["fine"].map(dict(zip(fine["key"], fine["parent"], strict=True)))
    split = pieces["fine"].value_counts()
    if (split > 1).any():
        found.append(
            finding(
                f"{low['layer']} areas that straddle a {top['layer']}: {', '.join(sorted(split.index[split > 1]))}",
                f"跨{top['word_zh']}边界的{low['word_zh']}：{'、'.join(sorted(split.index[split > 1]))}",
                int((split > 1).sum()),
                f"cut at the border: {len(fine)} areas became {len(pieces)} communities",
                f"在边界处切开：{len(fine)} 个成为 {len(pieces)} 个社区",
            )
        )
    found.append(
        finding(
            f"slivers between the {low['layer']} and {top['layer']} outlines (drawn apart, not identical): "
            f"{slivers['area_m2']:.0f} m2 in all, the largest {slivers['largest_m2']:.0f} m2",
            f"{low['word_zh']}与{top['word_zh']}边界线不重合产生的碎片，合计 {slivers['area_m2']:.0f} 平方米，"
            f"最大 {slivers['largest_m2']:.0f} 平方米",
            int(slivers["count"]),
            f"pieces below {spec['smallest_m2']} m2 joined to the neighbour in the same {top['layer']} with the "
            "longest shared border",
            f"小于 {spec['smallest_m2']} 平方米者并入同一{top['word_zh']}内共边最长的相邻社区",
        )
    )
    return _coded(profile, pieces, levels), found


def _polygons(
    profile: Profile, source: Path, level: Mapping[str, Any], more: list[str], found: list[Finding]
) -> gpd.GeoDataFrame:
    """Key, parent (if asked) and valid polygons of one level, in the city's CRS, sorted by key."""
    file, layer = profile["areas"]["file"], level["layer"]
    frame = read_layer(source, file, layer, [level["key"], *more], frozenset({"Polygon"}))
    frame = frame[frame.geometry.notna() & ~frame.geometry.is_empty].to_crs(profile["srid"])
    keys = frame[level["key"]]
    out = gpd.GeoDataFrame(
        {"key": keys.astype(str).str.strip(), "geometry": mended(frame.geometry.array, layer, found)},
        crs=frame.crs,
    )
    if more:
        out["parent"] = frame[more[0]].astype(str).str.strip()
    if keys.isna().any() or out["key"].duplicated().any():
        raise unfit(source / file, layer, "has empty or repeated keys", "的编号为空或重复", field=level["key"])
    return out.sort_values("key", ignore_index=True)


def mended(polygons: Any, layer: str, found: list[Finding]) -> NDArray[Any]:
    """The same polygons made valid; what was invalid is counted in ``found``."""
    shapes = np.asarray(polygons, dtype=object)
    bad = ~shapely.is_valid(shapes)
    if bad.any():
        shapes = np.where(bad, shapely.make_valid(shapes, method="structure", keep_collapsed=False), shapes)
        found.append(
            finding(
                f"invalid polygons in layer {layer}",
                f"图层 {layer} 中的无效多边形",
                int(bad.sum()),
                "made valid, their area kept",
                "已修复，面积保留",
            )
        )
    return shapes


def _pieces(
    coarse: gpd.GeoDataFrame, fine: gpd.GeoDataFrame, smallest_m2: float, path: Path, layer: str
) -> tuple[gpd.GeoDataFrame, dict[str, float]]:
    """Communities as (coarse, fine, geometry) from one noded linework, and what the slivers came to."""
    outlines = shapely.boundary(np.concatenate([coarse.geometry.array, fine.geometry.array]))
    lines = shapely.union_all(outlines, grid_size=LATTICE_M)
    faces = shapely.get_parts(shapely.polygonize([lines]))
    inner = shapely.point_on_surface(faces)
    in_coarse = _first(inner, coarse.geometry.array)
    in_fine = _first(inner, fine.geometry.array)
    area = shapely.area(faces)
    left, right, shared_m = shared_sides(faces)

    label = np.where((in_coarse >= 0) & (in_fine >= 0), in_coarse * len(fine) + in_fine, -1)
    same = (label[left] == label[right]) & (label[left] >= 0)
    graph = coo_array((np.ones(same.sum()), (left[same], right[same])), shape=(len(faces), len(faces)))
    _, group = connected_components(graph, directed=False)
    settled = (np.bincount(group, weights=area)[group] >= smallest_m2) & (label >= 0)
    uncovered = ~settled & (label < 0) & (area >= smallest_m2) & ((in_coarse >= 0) | (in_fine >= 0))
    if uncovered.any():
        raise unfit(
            path,
            layer,
            f"and the layer above it do not cover the same ground: {area[uncovered].sum():.0f} m2 differ",
            f"与上一级图层覆盖范围不一致，相差 {area[uncovered].sum():.0f} 平方米",
            field="geometry",
        )
    slivers = ~settled & (area < smallest_m2)
    groups, first = np.unique(group[slivers], return_index=True)
    sizes = np.bincount(group, weights=area)[groups] if len(first) else np.zeros(1)
    label = _adopt(label, settled, slivers, in_coarse, len(fine), left, right, shared_m)

    rows = []
    for one in np.unique(label[label >= 0]):
        shape = shapely.coverage_union_all(faces[label == one])
        rows.append((coarse["key"].iloc[one // len(fine)], fine["key"].iloc[one % len(fine)], shape))
    pieces = gpd.GeoDataFrame(rows, columns=["coarse", "fine", "geometry"], geometry="geometry", crs=fine.crs)
    told = {"count": len(groups), "area_m2": float(area[slivers].sum()), "largest_m2": float(sizes.max())}
    return pieces, told


def _first(points: NDArray[Any], polygons: Any) -> NDArray[np.int64]:
    """Lowest row of the polygon that holds each point, -1 for none."""
    rows = np.full(len(points), -1, dtype=np.int64)
    point, polygon = shapely.STRtree(np.asarray(polygons)).query(points, predicate="intersects")
    order = np.argsort(-polygon, kind="stable")
    rows[point[order]] = polygon[order]
    return rows


def _adopt(
    label: NDArray[np.int64],
    settled: NDArray[np.bool_],
    slivers: NDArray[np.bool_],
    in_coarse: NDArray[np.int64],
    width: int,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    shared_m: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Give each sliver the label of its best neighbour: same coarse area first, then the longest border."""
    label, settled = np.where(settled, label, -1), settled.copy()
    links = pd.DataFrame({"a": np.r_[left, right], "b": np.r_[right, left], "m": np.r_[shared_m, shared_m]})
    while True:
        open_ = links[slivers[links["a"]] & ~settled[links["a"]] & settled[links["b"]]]
        if open_.empty:
            return label
        to = label[open_["b"].to_numpy()]
        best = (
            pd.DataFrame({"a": open_["a"].to_numpy(), "to": to, "m": open_["m"].to_numpy()})
            .groupby(["a", "to"], as_index=False)
            .agg({"m": "sum"})
        )
        best["home"] = best["to"].to_numpy() // width == in_coarse[best["a"].to_numpy()]
        best = best.sort_values(["a", "home", "m", "to"], ascending=[True, False, False, True])
        best = best.drop_duplicates("a")
        label[best["a"].to_numpy()] = best["to"].to_numpy()
        settled[best["a"].to_numpy()] = True


def _coded(profile: Profile, pieces: gpd.GeoDataFrame, levels: Mapping[str, Any]) -> gpd.GeoDataFrame:
    """Codes and names for all levels; each level is the coverage union of the level below."""
    pieces = pieces.sort_values(["coarse", "street", "fine"], ignore_index=True)
    city = str(profile["code"])
    rank = {key: n + 1 for n, key in enumerate(sorted(pieces["coarse"].unique()))}
    pieces["district"] = [f"{city}{rank[key]:02d}" for key in pieces["coarse"]]
    streets = pieces.groupby("district")["street"].transform(lambda keys: pd.factorize(keys, sort=True)[0] + 1)
    pieces["street_code"] = pieces["district"] + streets.map("{:03d}".format)
    serial = pieces.groupby("street_code").cumcount() + 1
    pieces["code"] = pieces["street_code"] + serial.map("{:03d}".format)
    parts = {key: pieces.groupby(key)["coarse"].nunique() for key in ("fine", "street")}

    def names(level: str, key: str, home: str) -> tuple[str, str]:
        spec, top = levels[level], levels["district"]
        zh, en = spec["name_zh"].format(key=key), spec["name_en"].format(key=key)
        column = {"community": "fine", "street": "street"}.get(level)
        if column and parts[column][key] > 1:
            zh += f"（{top['name_zh'].format(key=home)}部分）"
            en += f" ({top['name_en'].format(key=home)} part)"
        return zh, en

    rows = [(city, profile["name_zh"], profile["name_en"], shapely.coverage_union_all(pieces.geometry.array))]
    for column, level, key in (
        ("district", "district", "coarse"),
        ("street_code", "street", "street"),
        ("code", "community", "fine"),
    ):
        for code, group in pieces.groupby(column, sort=True):
            zh, en = names(level, group[key].iloc[0], group["coarse"].iloc[0])
            rows.append((str(code), zh, en, shapely.coverage_union_all(group.geometry.array)))
    areas = gpd.GeoDataFrame(
        rows, columns=["code", "name_zh", "name_en", "geometry"], geometry="geometry", crs=pieces.crs
    )
    areas["data_source"] = profile["areas"]["data_source"]
    return areas[AREA_COLUMNS]


def district_codes(profile: Profile, source: Path) -> dict[str, str]:
    """Label of a district in the source ("5") → its code, by the same ranking as :func:`build_areas`."""
    level = next(level for level in profile["areas"]["level"] if level["name"] == "district")
    frame = read_layer(source, profile["areas"]["file"], level["layer"], [level["key"]], frozenset({"Polygon"}))
    keys = sorted(frame[level["key"]].astype(str).str.strip())
    return {key: f"{profile['code']}{n + 1:02d}" for n, key in enumerate(keys)}


def read_ground(profile: Profile, source: Path, city: shapely.Geometry) -> tuple[gpd.GeoDataFrame, list[Finding]]:
    """Streets, green and so on from the layers named in ``[[ground]]``: parts that touch the city, as drawn.

    Each entry: file, layer, kind, data_source, and optionally name (a column), grade (a word), grade_column with a
    table grades (values that are not in it are of ``grade``; without that they are left out). Width is unknown: NaN.
    """
    found: list[Finding] = []
    frames = []
    shapely.prepare(city)
    for spec in profile.get("ground", []):
        line = spec["kind"] in ("street", "rail")
        columns = [spec[key] for key in ("name", "grade_column") if key in spec]
        columns += list(spec.get("leave_out", {}))
        kinds = frozenset({"LineString"} if line else {"Polygon"})
        raw = read_layer(source, spec["file"], spec["layer"], columns, kinds).to_crs(profile["srid"])
        raw = raw[raw.geometry.notna()]
        for column, values in spec.get("leave_out", {}).items():
            raw = raw[~raw[column].isin(values)]
        if not line:
            raw = raw.set_geometry(mended(raw.geometry.array, spec["layer"], found), crs=raw.crs)
        grade: Any = spec.get("grade")
        if "grade_column" in spec:
            column = raw[spec["grade_column"]]
            words = column.map("{:g}".format) if column.dtype.kind in "if" else column
            grade = words.map(spec["grades"]).astype(object)
            grade = grade.where(grade.notna(), spec.get("grade"))
            raw, grade = raw[grade.notna()], grade[grade.notna()]
        name = raw[spec["name"]].astype("string").str.strip() if "name" in spec else pd.NA
        out = gpd.GeoDataFrame(
            {"kind": spec["kind"], "grade": grade, "name_en": name, "geometry": raw.geometry}, crs=raw.crs
        )
        out = out.explode(index_parts=False, ignore_index=True)
        out = out[shapely.intersects(city, np.asarray(out.geometry.array))]
        out = out[out.geom_type == ("LineString" if line else "Polygon")]
        frames.append(out.assign(data_source=spec["data_source"], width_m=np.nan, name_zh=None))
    if not frames:
        return gpd.GeoDataFrame(columns=GROUND_COLUMNS, geometry="geometry", crs=profile["srid"]), found
    ground = gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), geometry="geometry", crs=profile["srid"])
    for column in ("grade", "name_zh", "name_en"):
        text = ground[column].astype(object)
        ground[column] = text.where(text.notna() & ~text.isin(["", "<Null>"]), None)
    return ground[GROUND_COLUMNS], found


def read_left_out(profile: Profile, source: Path) -> list[Finding]:
    """What ``[[left_out]]`` names: layers of the source that are not used, with their rows and the reason."""
    found = []
    for spec in profile.get("left_out", []):
        frame = read_layer(source, spec["file"], spec["layer"], [])
        shapes = np.asarray(frame.geometry.array)
        bad = int((~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)).sum())
        also = (f"; {bad} invalid polygons in it", f"；其中无效多边形 {bad} 个") if bad else ("", "")
        found.append(
            finding(
                f"layer {spec['layer']} is not used{also[0]}",
                f"未使用的图层 {spec['layer']}{also[1]}",
                len(frame),
                spec["why_en"],
                spec["why_zh"],
            )
        )
    return found
