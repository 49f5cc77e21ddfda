"""What answers rest on at an instant, small enough for memory, and the assignment of frames of any size by it.

``assign_frame`` is the pure twin of ``cases.assign``: the same cell, unit and reason for every row, without a database.
The reports are the large side; cells, rules, bodies and components are the small one, which goes to every worker. The
answer of a row depends on its cell only by the areas that rules and bodies name, so that it is worked out once for each
class, condition, such context, set of zones and pair of maintainer and owner that occurs, by :func:`responsible`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from sqlalchemy import Connection

from cases.nearby import nearest
from cases.responsible import BODIES, Outcome, prefixes, responsible
from cases.rule_check import Duty
from cases.rules import rules_at
from gis.crs import city_crs, snap
from gis.db import query, read_frame
from gis.layer import read_geoframe
from gis.locate import OUTSIDE, Locator
from grids.city import City

Ints = NDArray[np.int32]
PLACED = ("inside", "nearest", "outside")
CODES = {"cell_code": 15, "community_code": 12, "street_code": 9, "district_code": 6}  #: digits
#: What a row is answered.
COLUMNS = (*CODES, "placed", "unit", "assisting", "basis", "resolved_by", "rule", "zones")
Pairs = tuple[tuple[str | None, str | None], ...]
WIDER = 1.001  #: of a tolerance: what lies beyond this lies beyond it for certain
_LOCK = threading.Lock()  #: while an outcome gets its number
DENSE = 4_000_000  #: keys that are looked up in an array

#: What a frame of reports has: x and y in the city's system, snapped; the rest may be missing.
ASKED = ("x", "y", "class_code", "condition_no", "component_code")


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """Cells, rules, bodies of areas and components at an instant."""

    srid: int
    tolerance_m: float
    border_tolerance_m: float
    cells: gpd.GeoDataFrame  #: code, geometry; ascending by code
    rules: tuple[Duty, ...]
    bodies: Mapping[str, str]  #: area or cell → its unit
    components: pd.DataFrame  #: by code: maintainer, owner (units, None where there is none)
    classes: Mapping[str, frozenset[int]]  #: of the catalogue, with their filing conditions
    _known: dict[Any, int] = field(default_factory=dict)  #: number of the outcome of what was asked before
    _numbers: dict[Outcome, int] = field(default_factory=dict)
    _levels: dict[str, tuple[Ints, Sequence[str]]] = field(default_factory=dict)

    @cached_property
    def locator(self) -> Locator:
        """Of the cells, in their order: on a border the lowest code owns a place."""
        return Locator.of(self.cells.geometry)

    @cached_property
    def codes(self) -> NDArray[np.object_]:
        """Of the cells."""
        codes: NDArray[np.object_] = self.cells["code"].to_numpy(dtype=object)
        return codes

    def names_of(self, level: str) -> tuple[Ints, Sequence[str]]:
        """For each cell the number of its code at a level of CODES, and for OUTSIDE, at the end, -1; and the codes."""
        known = self._levels.get(level)
        if known is None:
            names, number = np.unique([code[: CODES[level]] for code in self.codes.tolist()], return_inverse=True)
            known = self._levels[level] = np.append(number, -1).astype(np.int32), names.tolist()
        return known

    @cached_property
    def zone_sets_of_cells(self) -> tuple[list[tuple[int, ...]], Ints]:
        """Sets of zones (numbers of rules), and for each cell the number of the set that its whole ground lies in; -1
        where a zone's border runs through it or along it.
        """
        sets: dict[tuple[int, ...], int] = {(): 0}
        held: dict[int, list[int]] = {}
        mixed: set[int] = set()
        shapes = self.cells.geometry.to_numpy()
        for _, numbers in self.zones:
            for number in numbers:
                zone = self.rules[number].zone
                shapely.prepare(zone)
                near = self._tree.query(zone, predicate="intersects")
                whole = shapely.contains_properly(zone, shapes[near])
                mixed.update(near[~whole].tolist())
                for cell in near[whole].tolist():
                    held.setdefault(cell, []).append(number)
        of = np.zeros(len(shapes) + 1, dtype=np.int32)
        for cell, several in held.items():
            of[cell] = sets.setdefault(tuple(several), len(sets))
        of[list(mixed)] = -1
        of[OUTSIDE] = -1  # the last: a place without a cell may lie in a zone all the same
        return list(sets), of

    @cached_property
    def contexts(self) -> tuple[Ints, tuple[str, ...]]:
        """For each cell the number of its context, and a cell of each context: cells of one are answered alike."""
        named = {rule.area_prefix for rule in self.rules} | set(self.bodies)
        numbers: dict[tuple[str, ...], int] = {}
        first: list[str] = []
        of = np.empty(len(self.codes), dtype=np.int32)
        for row, code in enumerate(self.codes.tolist()):
            key = tuple(prefix for prefix in prefixes(code) if prefix in named)
            if key not in numbers:
                numbers[key] = len(first)
                first.append(code)
            of[row] = numbers[key]
        return of, tuple(first)

    @cached_property
    def zones(self) -> list[tuple[Locator, tuple[int, ...]]]:
        """Locators of the zones and the numbers of their rules; the zones of one do not meet, so that each place lies
        in one of them at most.
        """
        numbers = [n for n, rule in enumerate(self.rules) if rule.zone is not None]
        shapes = np.array([self.rules[n].zone for n in numbers], dtype=object)
        meets: dict[int, set[int]] = {n: set() for n in range(len(numbers))}
        if len(numbers) > 1:
            for one, other in shapely.STRtree(shapes).query(shapes, predicate="intersects").T.tolist():
                meets[one].add(other)
        groups: list[list[int]] = []
        for n in range(len(numbers)):
            group = next((group for group in groups if not meets[n] & set(group)), None)
            if group is None:
                groups.append([n])
            else:
                group.append(n)
        crs = city_crs(self.srid)
        return [
            (Locator.of(gpd.GeoSeries(shapes[group], crs=crs)), tuple(numbers[n] for n in group)) for group in groups
        ]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.cells.geometry.to_numpy())

    @cached_property
    def _near(self) -> Locator | None:
        """The ground within tolerance of a cell, and some more."""
        if not self.tolerance_m or self.cells.empty:
            return None
        ground = shapely.buffer(
            shapely.union_all(self.cells.geometry.to_numpy()), self.tolerance_m * WIDER, quad_segs=64
        )
        return Locator.of(gpd.GeoSeries([ground], crs=city_crs(self.srid)))

    @cached_property
    def _pairs(self) -> tuple[pd.Index, Ints, Pairs]:
        return _pairs_of(self.components)

    def strange(self, reports: pd.DataFrame) -> tuple[Any, Any]:
        """Of each row whether its class is not in the catalogue, and whether its condition is none of its class."""
        many = len(reports)
        classes, class_number = _numbered(reports, "class_code", many)
        conditions, condition_number = _numbered(reports, "condition_no", many)
        unknown = np.array([code is not None and code not in self.classes for code in classes])
        without = np.array(
            [
                [one is not None and one not in self.classes.get(code or "", frozenset()) for one in conditions]
                for code in classes
            ]
        )
        return unknown[class_number], without[class_number, condition_number]

    def place(self, x: Any, y: Any, *, threads: int | None = None) -> tuple[Ints, NDArray[np.int8]]:
        """The cell of each place (OUTSIDE: none), and how it was placed (a number of PLACED)."""
        cell = self.locator.locate(x, y, threads=threads)
        placed = np.where(cell == OUTSIDE, np.int8(2), np.int8(0))
        lost = np.flatnonzero(cell == OUTSIDE)
        if len(lost) and self._near is not None:
            lost = lost[self._near.locate(x[lost], y[lost], threads=threads) == 0]
            at, row, _ = nearest(x[lost], y[lost], self._tree, self.tolerance_m)
            cell[lost[at]], placed[lost[at]] = row, 1
        return cell, placed

    @cached_property
    def mark(self) -> str:
        """Tells apart what different answers may rest on."""
        said = hashlib.sha256()
        for shape in (self.cells.geometry.to_numpy(), [rule.zone for rule in self.rules]):
            said.update(b"".join(shapely.to_wkb(one) for one in shape if one is not None))
        rules = [{**vars(rule), "zone": None} for rule in self.rules]
        facts = (self.codes.tolist(), rules, sorted(self.bodies.items()), self.tolerance_m, sorted(self.classes))
        said.update(repr(facts).encode())
        said.update(pd.util.hash_pandas_object(self.components).to_numpy().tobytes())
        return said.hexdigest()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What the numbers of :class:`Assigned` mean, as far as they have come up."""
        return tuple(self._numbers)

    @cached_property
    def _plain(self) -> dict[tuple[str, str], list[Duty]]:
        """The rules without a zone by the prefixes of class and area."""
        found: dict[tuple[str, str], list[Duty]] = {}
        for rule in self.rules:
            if rule.zone is None:
                found.setdefault((rule.class_prefix, rule.area_prefix), []).append(rule)
        return found

    def _meant(self, class_code: str | None, cell_code: str) -> list[Duty]:
        """The rules without a zone that may speak of a class in a cell."""
        if class_code is None:
            return []
        kinds = dict.fromkeys(("", class_code[:1], class_code[:3], class_code))
        areas = dict.fromkeys(prefixes(cell_code))
        return [rule for kind in kinds for area in areas for rule in self._plain.get((kind, area), ())]

    def number_of(self, asked: tuple[Any, ...] | None) -> int:
        """The number of the outcome of a class, condition, cell, zones (numbers of rules), maintainer and owner; worked
        out the first time. None: of a place without a cell.
        """
        number = self._known.get(asked)
        if number is None:
            found = Outcome(unit=None, basis="nobody", resolved_by=None, rule=None, assisting=(), zones=())
            if asked is not None:
                class_code, condition_no, cell_code, zones, (maintainer, owner) = asked
                found = responsible(
                    self._meant(class_code, cell_code),
                    [self.rules[n] for n in zones],
                    self.bodies,
                    class_code=class_code,
                    condition_no=condition_no,
                    cell_code=cell_code,
                    maintainer=maintainer,
                    owner=owner,
                )
            with _LOCK:
                number = self._known[asked] = self._numbers.setdefault(found, len(self._numbers))
        return number


@dataclass(frozen=True, kw_only=True, eq=False)
class Assigned:
    """The answers for a frame, a number a row; what the numbers mean is the standing's."""

    standing: Standing
    cell: Ints  #: row of standing.cells, OUTSIDE where there is none
    placed: NDArray[np.int8]  #: number of PLACED
    outcome: Ints  #: number of an Outcome

    def column(self, name: str) -> tuple[Ints, Sequence[str]]:
        """One of COLUMNS: the number of each row's value, -1 for none, and the values."""
        if name == "placed":
            return self.placed.astype(np.int32), PLACED
        if name in CODES:
            numbers, names = self.standing.names_of(name)
            return numbers[self.cell], names  # of OUTSIDE the last one
        values = [getattr(one, name) for one in self.standing.outcomes]
        texts = [";".join(value) if isinstance(value, tuple) else value for value in values]
        names = sorted({text for text in texts if text is not None})
        of = {text: n for n, text in enumerate(names)}
        numbers = np.array([-1 if text is None else of[text] for text in texts], dtype=np.int32)
        return numbers[self.outcome] if len(numbers) else self.outcome, names

    def frame(self) -> pd.DataFrame:
        """The answers as categories, in the order of COLUMNS; several units or rules with ``;`` between."""
        columns: dict[str, Any] = {}
        for name in COLUMNS:
            numbers, names = self.column(name)
            values: Any = np.array(names, dtype=object)
            columns[name] = pd.Categorical.from_codes(numbers, categories=values)
        return pd.DataFrame(columns)


def read_components(
    conn: Connection, at: datetime | None = None, *, codes: Sequence[str] | None = None
) -> pd.DataFrame:
    """Components by code, all or some, with maintainer and owner as far as these units are there."""
    absent = list(conn.scalars(query("cases", "absent_units"), {"at": at}))
    asked = {"at": at, "codes": None if codes is None else list(codes)}
    found = read_frame(conn, query("cases", "standing_components"), **asked).set_index("code")
    for name in ("maintainer", "owner"):
        found[name] = found[name].astype(object).where(found[name].notna() & ~found[name].isin(absent), None)
    return found


def read_standing(conn: Connection, city: City, at: datetime | None = None, *, components: bool = True) -> Standing:
    """What answers rest on now, or at an instant; without the components if not wanted."""
    when = {"at": at}
    cells = read_geoframe(conn, query("cases", "standing_cells"), city.srid, **when)
    bodies = {row.area_code: row.code for row in conn.execute(query("cases", "standing_bodies"), when)}
    absent = set(conn.scalars(query("cases", "absent_units"), when))
    edition = conn.execute(query("layers", "edition_in_force"), when).scalar_one()
    classes: dict[str, set[int]] = {}
    for row in conn.execute(query("cases", "classes_and_conditions"), {"edition": edition}):
        classes.setdefault(row.code, set()).update(() if row.no is None else (row.no,))
    return Standing(
        srid=city.srid,
        tolerance_m=city.tolerance_m,
        border_tolerance_m=city.border_tolerance_m,
        cells=cells,
        rules=tuple(_without(rule, absent) for rule in rules_at(conn, at)),
        bodies=bodies,
        components=read_components(conn, at, codes=None if components else ()),
        classes={code: frozenset(numbers) for code, numbers in classes.items()},
    )


def _without(rule: Duty, absent: set[str]) -> Duty:
    """A rule without roles of units that are not there."""
    roles = [role for role in rule.roles.split("|") if role.removeprefix("unit:") not in absent or role in BODIES]
    return Duty(**{**vars(rule), "roles": "|".join(roles)})


# ── frames ────────────────────────────────────────


def assign_frame(
    reports: pd.DataFrame,
    standing: Standing,
    *,
    components: pd.DataFrame | None = None,
    threads: int | None = None,
) -> Assigned:
    """The answer for every row of a frame (ASKED): the same as ``cases.assign`` gives it.

    ``components``: by code their maintainer and owner; None: those of the standing.
    Places that are none (not a number) lie outside. Texts may be categories, which saves most of the work.
    """
    x, y = (snap(reports[axis].to_numpy(dtype=np.float64)) for axis in ("x", "y"))
    cell, placed = standing.place(x, y, threads=threads)
    contexts, first = standing.contexts
    context = np.append(contexts, 0)[cell]
    classes, class_number = _numbered(reports, "class_code", len(x))
    conditions, condition_number = _numbered(reports, "condition_no", len(x))
    zone_sets, zone_number = _zone_sets(standing, cell, placed, x, y, threads)
    known = standing._pairs if components is None else _pairs_of(components)
    pairs, pair_number = _pair_numbers(known, reports, len(x))
    sizes = (len(classes), len(conditions), len(first), len(zone_sets), len(pairs))
    key = np.zeros(len(x), dtype=np.int64)
    for number, size in zip((class_number, condition_number, context, zone_number, pair_number), sizes, strict=True):
        if size > 1:
            key = key * size + number
    key[cell == OUTSIDE] = -1
    many = int(np.prod([max(size, 1) for size in sizes], dtype=np.float64))

    def work_out(number: int) -> int:
        parts = []
        for size in reversed(sizes):
            number, part = divmod(number, size) if size > 1 else (number, 0)
            parts.append(part)
        pair, zones, cell_of, condition, problem = parts
        asked = (classes[problem], conditions[condition], first[cell_of], zone_sets[zones], pairs[pair])
        return standing.number_of(asked)

    nowhere = standing.number_of(None)
    if many <= DENSE:
        table = np.full(many + 1, -1, dtype=np.int32)
        seen = np.zeros(many + 1, dtype=bool)
        seen[key] = True
        for present in np.flatnonzero(seen[:-1]).tolist():
            table[present] = work_out(present)
        table[-1] = nowhere
        outcome = table[key]
    else:
        keys, inverse = np.unique(key, return_inverse=True)
        meant = [nowhere if number < 0 else work_out(number) for number in keys.tolist()]
        outcome = np.array(meant, dtype=np.int32)[inverse]
    return Assigned(standing=standing, cell=cell, placed=placed, outcome=outcome)


def _numbered(reports: pd.DataFrame, name: str, many: int) -> tuple[list[Any], Ints]:
    """The different values of a column, None among them, and the number of each row's."""
    if name not in reports:
        return [None], np.zeros(many, dtype=np.int32)
    column = reports[name]
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, values = column.cat.codes.to_numpy(), column.cat.categories
    else:
        codes, values = pd.factorize(column, use_na_sentinel=True)
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    plain = [int(value) if isinstance(value, float) else value for value in plain]
    return [*plain, None], np.where(codes < 0, len(plain), codes).astype(np.int32)


def _zone_sets(
    standing: Standing, cell: Ints, placed: Any, x: Any, y: Any, threads: int | None
) -> tuple[list[tuple[int, ...]], Ints]:
    """The different sets of zones (numbers of rules) that places lie in, and the number of each place's."""
    known, of = standing.zone_sets_of_cells
    number = of[cell]
    number[placed == 1] = -1  # beside the cell, not in it
    unsure = np.flatnonzero((number < 0) & (cell != OUTSIDE))
    number[cell == OUTSIDE] = 0
    if not len(unsure):
        return known, number
    sets = {several: n for n, several in enumerate(known)}
    found = [locator.locate(x[unsure], y[unsure], threads=threads) for locator, _ in standing.zones]
    key = np.zeros(len(unsure), dtype=np.int64)
    for row, (locator, _) in zip(found, standing.zones, strict=True):
        _, key = np.unique(key * (locator.count + 1) + row + 1, return_inverse=True)
    _, first = np.unique(key, return_index=True)
    meant = [
        tuple(numbers[row[at]] for row, (_, numbers) in zip(found, standing.zones, strict=True) if row[at] != OUTSIDE)
        for at in first.tolist()
    ]
    number[unsure] = np.array([sets.setdefault(several, len(sets)) for several in meant], dtype=np.int32)[key]
    return list(sets), number


def _pairs_of(components: pd.DataFrame) -> tuple[pd.Index, Ints, Pairs]:
    """Codes of components, for each the number of its pair of maintainer and owner, the pairs; 0 is none."""
    pairs: dict[tuple[str | None, str | None], int] = {(None, None): 0}
    of = [
        pairs.setdefault((maintainer, owner), len(pairs))
        for maintainer, owner in zip(components["maintainer"], components["owner"], strict=True)
    ]
    return pd.Index(components.index), np.array(of, dtype=np.int32), tuple(pairs)


def _pair_numbers(known: tuple[pd.Index, Ints, Pairs], reports: pd.DataFrame, many: int) -> tuple[Pairs, Ints]:
    """The pairs of maintainer and owner, and the number of each row's; of a component that is not there: none."""
    number = np.zeros(many, dtype=np.int32)
    if "component_code" not in reports:
        return ((None, None),), number
    codes, of, pairs = known
    names, named = _numbered(reports, "component_code", many)
    at = codes.get_indexer(pd.Index(names, dtype=object))  # the last of the names is None, and nowhere
    return pairs, np.where(at < 0, 0, np.append(of, 0)[at]).astype(np.int32)[named]
