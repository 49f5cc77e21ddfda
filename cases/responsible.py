"""Who is responsible (属地管理): the order of responsibility, for one class of problem at one place. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cases.rule_check import Duty

LEVELS = {"district": 6, "street": 9, "community": 12}
BODIES = ("cell", "community", "street", "district")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Who leads, by what, and who assists."""

    unit: str | None
    basis: str  #: component, rule, zone, territory, nobody
    resolved_by: str | None
    rule: str | None
    assisting: tuple[str, ...]
    zones: tuple[str, ...]  #: rules of zones that claim the place with equal right


def prefixes(code: str) -> tuple[str, ...]:
    """A cell's code and those of the areas around it, and "" for anywhere."""
    return ("", code[:4], code[:6], code[:9], code[:12], code)


def _fits(rule: Duty, class_code: str | None, condition_no: int | None, areas: Iterable[str]) -> bool:
    return (
        class_code is not None
        and rule.class_prefix in ("", class_code[:1], class_code[:3], class_code)
        and rule.area_prefix in areas
        and rule.condition_no in (None, condition_no)
    )


def _rank(rule: Duty) -> tuple[int, bool, int]:
    """The most specific first: class, a condition, area."""
    return -len(rule.class_prefix), rule.condition_no is None, -len(rule.area_prefix)


def _units(rule: Duty | None, keys: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """Unit and key of every role of a rule that means somebody here, in order."""
    found = []
    for role in rule.roles.split("|") if rule is not None else ():
        key, _, unit = role.partition(":")
        means = unit or keys.get(key)
        if means:
            found.append((means, key))
    return found


def responsible(
    rules: Sequence[Duty],
    zones: Sequence[Duty],
    bodies: Mapping[str, str],
    *,
    class_code: str | None,
    condition_no: int | None,
    cell_code: str,
    maintainer: str | None,
    owner: str | None,
) -> Outcome:
    """Who is responsible (属地管理), by the order of responsibility in the manual.

    rules  : without a zone; zones: rules in whose zone the place lies
    bodies : area or cell → its territorial body; maintainer, owner: of the component that the report names
    1. the component's maintainer, else its owner; 2. the most specific rule, if a fixed unit or a body of the
    component is the first of its roles that means somebody; 3. a zone; 4. the rule's bodies of the place; 5. the body
    of the cell, community, street, district; nobody. Between equals the lowest code of the rule.
    """
    areas = prefixes(cell_code)
    keys: dict[str, str | None] = {"maintainer": maintainer, "owner": owner, "cell": bodies.get(cell_code)}
    keys |= {level: bodies.get(cell_code[:digits]) for level, digits in LEVELS.items()}
    fitting = [rule for rule in rules if _fits(rule, class_code, condition_no, areas)]
    rule = min(fitting, key=lambda one: (*_rank(one), one.code), default=None)
    claiming = [zone for zone in zones if _fits(zone, class_code, condition_no, areas)]
    best = min((_rank(zone) for zone in claiming), default=None)
    claims = sorted((zone for zone in claiming if _rank(zone) == best), key=lambda zone: zone.code)
    by_rule = _units(rule, keys)
    by_zone = [(zone, *one) for zone in claims for one in _units(zone, keys)]
    fixed = bool(by_rule) and by_rule[0][1] in ("unit", "maintainer", "owner")
    steps: list[tuple[str | None, str, str | None, str | None]] = [
        (keys["maintainer"], "component", "maintainer", None),
        (keys["owner"], "component", "owner", None),
        *([(by_rule[0][0], "rule", by_rule[0][1], rule.code)] if rule is not None and fixed else []),
        *((unit, "zone", key, zone.code) for zone, unit, key in by_zone[:1]),
        *([(by_rule[0][0], "rule", by_rule[0][1], rule.code)] if rule is not None and by_rule else []),
        *((keys[level], "territory", level, None) for level in BODIES),
    ]
    nobody = (None, "nobody", None, None)
    unit, basis, resolved_by, code = next((step for step in steps if step[0] is not None), nobody)
    helping = {one for one, _ in by_rule}
    # Of several zones the one that leads helps; where none leads, the first.
    first = code if basis == "zone" else claims[0].code if claims else None
    helping |= {one for zone, one, _ in by_zone if zone.code == first}
    return Outcome(
        unit=unit,
        basis=basis,
        resolved_by=resolved_by,
        rule=code,
        assisting=tuple(sorted(helping - {unit})) if unit is not None else (),
        zones=tuple(zone.code for zone in claims),
    )
