"""What rests on classes of the catalogue: open cases and rules of responsibility."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from gis.db import query


@dataclass(frozen=True, kw_only=True)
class ClassRule:
    """A rule for a class or major, or for one of its filing conditions."""

    code: str
    class_prefix: str
    condition_no: int | None


def open_cases_of(conn: Connection, codes: Sequence[str]) -> dict[str, int]:
    """How many cases of each of these classes have not ended, of whatever edition; none where there is none."""
    return {
        row.class_code: row.cases for row in conn.execute(query("cases", "open_cases_of_classes"), {"codes": codes})
    }


def rules_of(conn: Connection, prefixes: Sequence[str], conditions: Sequence[tuple[str, int]]) -> list[ClassRule]:
    """The rules of today whose class or major is one of these, or whose class and number of condition are."""
    row = {
        "prefixes": list(prefixes),
        "classes": [code for code, _ in conditions],
        "numbers": [number for _, number in conditions],
    }
    return [ClassRule(**found) for found in conn.execute(query("cases", "rules_of_classes"), row).mappings()]
