"""The tables of docs/workflow.md, made from the table of moves. ``python -m tests.workflow_page`` writes them there."""

from __future__ import annotations

import re
from pathlib import Path

from cases.case import ACTS, SYSTEM, TABLE, diagram
from layers.accounts import ROLES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "workflow.md"


def parts() -> dict[str, str]:
    """What stands between the marks of the page."""
    moves: list[str] = []
    acts: dict[str, tuple[list[str], str]] = {}
    for move in TABLE:
        roles = ", ".join(ROLES[role][1] if role in ROLES else role for role in move.roles)
        if move.act in ("import", "follow") or move.roles == (SYSTEM,):
            continue
        if move.from_stage != move.to_stage:
            needs = f" ({', '.join(move.needs)})" if move.needs else ""
            moves.append(f"| {move.from_stage} | `{move.act}` {ACTS[move.act][1]}{needs} | {move.to_stage} | {roles} |")
        else:
            where, who = acts.setdefault(move.act, ([], roles))
            where.append(move.from_stage)
            acts[move.act] = (where, who if who == roles else f"{who}; {roles}")
    lines = []
    for name, (where, who) in acts.items():
        brings = next(m.brings for m in TABLE if m.act == name)
        people = "; ".join(dict.fromkeys(who.split("; ")))
        stages = ", ".join(where) if len(where) < 8 else "any but ends"
        lines.append(f"| `{name}` {ACTS[name][1]} | {stages} | {people} | {', '.join(brings)} |")
    heads = {
        "moves": "| from | act | to | who |\n|---|---|---|---|\n",
        "acts": "| act | where | who | brings |\n|---|---|---|---|\n",
    }
    return {
        "diagram": f"```mermaid\n{diagram()}\n```",
        "moves": heads["moves"] + "\n".join(moves),
        "acts": heads["acts"] + "\n".join(lines),
    }


def filled(page: str) -> str:
    """The page with its tables as the table of moves has them."""
    for name, text in parts().items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        page = re.sub(pattern, lambda found, text=text: found[1] + text + "\n" + found[2], page, flags=re.S)
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
