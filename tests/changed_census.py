"""A second, changed census file of a real city: a copy with planted differences and faults, and what is true of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from scipy.spatial import cKDTree

from gis.crs import GEODETIC, reproject

CLEAR_M = 12.0  #: planted rows have no other row of their layers within this
ASIDE_M = 6.0  #: an added row stands so far east of a clear one
FAR_AWAY_M = 30_000.0


@dataclass
class Plan:
    """What is planted in one layer: numbers of rows, and with what."""

    key: str | None = None  #: the field that is the key, if the mapping has one
    alike: tuple[str, ...] = ()  #: further layers of the same class: planted rows keep clear of them, too
    removed: int = 0
    added: int = 0
    moved: tuple[int, float] = (0, 0.0)  #: rows, metres
    changed: tuple[int, str, Any] = (0, "", None)  #: rows, field, value
    bad: tuple[tuple[int, str, Any, str], ...] = ()  #: rows, field, value, rule that finds it
    duplicated: int = 0  #: rows that occur twice
    outside: int = 0  #: rows far from the city
    swapped: int = 0  #: rows with their axes exchanged


@dataclass
class Truth:
    """What the import of the changed file must say."""

    fates: Counter[tuple[str, str]] = field(default_factory=Counter)  #: (layer, fate) → rows, "same" left out
    rows: dict[str, set[tuple[str, int]]] = field(default_factory=dict)  #: fate → (layer, row) in the changed file
    gone: dict[str, set[str]] = field(default_factory=dict)  #: layer → keys of removed rows, where it has a key
    findings: Counter[str] = field(default_factory=Counter)  #: rule → findings
    moved_m: dict[tuple[str, int], float] = field(default_factory=dict)


def change(
    source: Path,
    target: Path,
    plans: Mapping[str, Plan],
    layers: Collection[str],
    *,
    srid: int,
    without: Collection[tuple[str, int]] = (),
) -> Truth:
    """Write ``target``: the layers of ``source`` with what is planned, the rows ``without`` (layer, row) left out.

    srid : the city's system, in which metres are meant; the files are in degrees. Raises ValueError when a layer has
    not enough clear rows.
    """
    truth = Truth()
    frames = {name: pyogrio.read_dataframe(source, layer=name) for name in layers}
    for name, whole in frames.items():
        left_out = {row - 1 for layer, row in without if layer == name}
        frame = whole.drop(index=[at for at in whole.index if at in left_out]).reset_index(drop=True)
        if name in plans:
            others = [frames[other] for other in plans[name].alike]
            frame = _changed(name, frame, plans[name], others, srid, truth)
        frame = frame.set_geometry(shapely.force_2d(frame.geometry.to_numpy()), crs=frame.crs)
        kind = {str(one) for one in frame.geom_type.dropna().unique()}
        pyogrio.write_dataframe(
            frame, target, layer=name, driver="GPKG", geometry_type=kind.pop() if len(kind) == 1 else "Unknown"
        )
    return truth


def _changed(
    name: str, frame: gpd.GeoDataFrame, plan: Plan, others: list[gpd.GeoDataFrame], srid: int, truth: Truth
) -> gpd.GeoDataFrame:
    metric = reproject(frame.geometry.to_numpy(), GEODETIC, srid)
    pool = _clear(metric, [reproject(other.geometry.to_numpy(), GEODETIC, srid) for other in others])
    np.random.default_rng(5).shuffle(pool)
    waiting = iter(pool.tolist())

    def take(many: int) -> list[int]:
        taken = [at for at, _ in zip(waiting, range(many), strict=False)]
        if len(taken) < many:
            raise ValueError(f"{name} has too few clear rows")
        return taken

    fates: dict[int, str] = {}
    fields = frame.drop(columns="geometry").astype(object)
    rows, metres = plan.moved
    for at in take(rows):
        metric[at] = _shifted(metric[at], metres)
        fates[at] = "moved"
    rows, column, value = plan.changed
    chosen = [at for at in take(4 * rows) if fields.loc[at, column] != value][:rows]
    fields.loc[chosen, column] = value
    fates |= dict.fromkeys(chosen, "changed")
    for rows, column, value, rule in plan.bad:
        chosen = take(rows)
        if pd.api.types.is_datetime64_any_dtype(frame[column].dtype):
            fields[column] = [None if pd.isna(day) else f"{day:%Y-%m-%d}" for day in frame[column]]
        fields.loc[chosen, column] = value
        fates |= dict.fromkeys(chosen, "refused")
        truth.findings[rule] += rows
    for at in take(plan.outside):
        metric[at] = _shifted(metric[at], FAR_AWAY_M)
        fates[at] = "refused"
    truth.findings["outside"] += plan.outside
    shapes = reproject(metric, srid, GEODETIC)
    untouched = metric == reproject(frame.geometry.to_numpy(), GEODETIC, srid)
    shapes[untouched] = frame.geometry.to_numpy()[untouched]  # to the last bit
    for at in take(plan.swapped):
        shapes[at] = shapely.transform(shapes[at], lambda points: points[:, ::-1])
        fates[at] = "refused"
    truth.findings["axes"] += plan.swapped
    removed = take(plan.removed)
    twice, beside = take(plan.duplicated), take(plan.added)
    fates |= dict.fromkeys(twice, "refused")
    truth.findings["key_duplicate"] += 2 * plan.duplicated

    made = gpd.GeoDataFrame(fields, geometry=shapes, crs=frame.crs)
    made["_fate"] = pd.Series(fates, dtype=object).reindex(made.index)
    fresh = made.loc[beside].assign(_fate="new")
    moved_there = np.array([_shifted(metric[at], ASIDE_M) for at in beside], dtype=object)
    fresh = fresh.set_geometry(reproject(moved_there, srid, GEODETIC), crs=frame.crs)
    if plan.key is not None:
        number = pd.api.types.is_numeric_dtype(frame[plan.key].dtype)
        fresh[plan.key] = [900_001 + n if number else f"planted-{n}" for n in range(len(fresh))]
        truth.gone[name] = {f"{name}/{key}" for key in frame[plan.key][removed]}
    made = pd.concat([made.drop(index=removed), made.loc[twice], fresh], ignore_index=True)
    for row, fate in enumerate(made["_fate"], start=1):
        if isinstance(fate, str):
            truth.fates[name, fate] += 1
            truth.rows.setdefault(fate, set()).add((name, row))
            if fate == "moved":
                truth.moved_m[name, row] = plan.moved[1]
    truth.fates[name, "gone"] += len(removed)
    made = made.drop(columns="_fate")
    for column in made.columns.drop("geometry"):
        if column in frame and not any(bad[1] == column for bad in plan.bad):
            made[column] = made[column].astype(frame[column].dtype)
    return made


def _clear(shapes: Any, others: list[Any]) -> Any:
    """Numbers of the geometries that have no other within CLEAR_M."""
    spots = shapely.get_coordinates(shapely.centroid(np.concatenate([shapes, *others])))
    metres, _ = cKDTree(spots).query(spots[: len(shapes)], k=2)
    reach = shapely.minimum_bounding_radius(shapes)
    return np.flatnonzero((metres[:, 1] > CLEAR_M) & (reach < CLEAR_M / 2))


def _shifted(shape: Any, metres: float) -> Any:
    return shapely.transform(shape, lambda points: points + np.array([metres, 0.0]))
