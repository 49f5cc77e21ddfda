"""On a border (权属边界): what the parts of a place's error circle come to, and a sentence about it.

The parts are those of ``cases.parts_of_circle``, each assigned by ``cases.assign``. Parts with the same answer are one
candidate, so that a border at which nothing changes is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One of the answers that hold somewhere within reach of a place."""

    cell_code: str | None  #: the nearest cell with this answer; None: no cell covers that ground
    unit_id: int | None
    assisting_ids: tuple[int, ...]
    row: Any  #: what assign said of the nearest part: basis, resolved_by, rule_code, source_document
    distance_m: float  #: from the place to the nearest ground with this answer, 0 where it stands
    share: float  #: of the area of the error circle, 0 … 1; the shares of all candidates add up to 1
    here: bool  #: the answer at the place itself


def candidates(here: Any, parts: Iterable[Any], *, contested: bool = True) -> list[Candidate]:
    """The answers within reach, that of the place first, then by distance.

    ``contested``: ground that several zones claim with equal right is an answer of its own. Rows have kind, share,
    distance_m, cell_code, placed, unit_id, assisting_ids, basis, resolved_by, rule_code, zone_rule_ids.
    """
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for part in parts:
        groups.setdefault(_answer(part, contested), []).append(part)
    own = _answer(here, contested)
    groups.setdefault(own, [])
    found = []
    for key, rows in groups.items():
        rows.sort(key=lambda row: (row.distance_m, row.cell_code or ""))
        nearest = here if key == own else rows[0]
        covered = nearest.placed == "inside"
        found.append(
            Candidate(
                cell_code=nearest.cell_code if covered else None,
                unit_id=nearest.unit_id if covered else None,
                assisting_ids=tuple(nearest.assisting_ids or ()) if covered else (),
                row=nearest,
                distance_m=0.0 if key == own else rows[0].distance_m,
                share=sum(row.share for row in rows),
                here=key == own,
            )
        )
    return sorted(found, key=lambda one: (not one.here, one.distance_m, one.cell_code or ""))


def _answer(row: Any, contested: bool) -> tuple[Any, ...]:
    """What makes parts one candidate: community, unit and the way to it. Ground without a cell is one of its own."""
    if row.placed != "inside":
        return (None,)
    return (row.cell_code[:12], row.unit_id, row.basis, row.resolved_by, row.rule_code, contested and rivals(row))


def rivals(row: Any) -> tuple[int, ...]:
    """The rules of zones that claim this ground with equal right, where a zone decides and there are several."""
    return tuple(row.zone_rule_ids) if row.basis == "zone" and len(row.zone_rule_ids) > 1 else ()


def in_words(
    found: list[Candidate],
    names: Mapping[str, tuple[str, str]],
    units: Mapping[int | None, tuple[str, str]],
    reach_m: float,
    claims: Iterable[Any] = (),
) -> tuple[str, str]:
    """The candidates in a sentence, English and Chinese. ``names``: community by code; ``units``: unit by id.

    ``claims``: rules of zones that claim the ground with equal right (rule_code, source_document, unit_id).
    """
    en, zh = [], []
    for one in found:
        area = names.get((one.cell_code or "")[:12], ("ground without a cell", "无网格覆盖区域"))
        unit = units.get(one.unit_id, ("nobody", "无责任主体"))
        share = f"{100 * one.share:.0f} %" if 0.005 <= one.share <= 0.995 else f"{100 * one.share:.1f} %"
        where, where_zh = (
            ("here", "所在地") if one.here else (f"{one.distance_m:.1f} m away", f"距 {one.distance_m:.1f} 米")
        )
        en.append(f"{area[0]} ({where}, {share}): {unit[0]}")
        zh.append(f"{area[1]}（{where_zh}，占 {share}）：{unit[1]}")
    claimed = [(units.get(one.unit_id, ("nobody", "无责任主体")), one) for one in claims]
    leads = {one.unit_id for one in found} | {one.unit_id for _, one in claimed}
    same, same_zh = ("; the same unit leads on every side", "；各侧责任单位相同") if len(leads) == 1 else ("", "")
    rival = "; ".join(f"rule {one.rule_code} ({_side(one, -1)}): {unit[0]}" for unit, one in claimed)
    rival_zh = "；".join(f"规则 {one.rule_code}（{_side(one, 0)}）：{unit[1]}" for unit, one in claimed)
    if claimed:
        same += f". Zones of equal right overlap here: {rival}"
        same_zh += f"。同级责任区在此重叠：{rival_zh}"
    return (
        f"within {reach_m:g} m of the place: {'; '.join(en)}{same}",
        f"该位置 {reach_m:g} 米范围内：{'；'.join(zh)}{same_zh}",
    )


def _side(claim: Any, which: int) -> str:
    """The document of a claim in one language (``Chinese | English``)."""
    return str(claim.source_document).split(" | ")[which]
