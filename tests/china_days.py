"""The days off and the made-up working days of China by the package chinesecalendar, as lines of a calendar.csv.

The package carries what the State Council's notices say. data/ankang/calendar.csv was begun with it;
tests/test_china_days.py compares the file with it day by day, and prints the lines of a year that only the package has.
"""

from __future__ import annotations

from datetime import date, timedelta
from importlib.metadata import version

from chinese_calendar.constants import holidays, workdays

NAMES = {
    "New Year's Day": "元旦",
    "Spring Festival": "春节",
    "Tomb-sweeping Day": "清明节",
    "Labour Day": "劳动节",
    "Dragon Boat Festival": "端午节",
    "National Day": "国庆节",
    "Mid-autumn Festival": "中秋节",
    "Anti-Fascist 70th Day": "中国人民抗日战争暨世界反法西斯战争胜利70周年纪念日",
}
ENGLISH = {
    "Tomb-sweeping Day": "Tomb-Sweeping Day",
    "Mid-autumn Festival": "Mid-Autumn Festival",
    "Anti-Fascist 70th Day": "70th anniversary of victory in the Anti-Fascist War",
}


def runs(days: dict[date, str]) -> list[tuple[date, date, list[str]]]:
    """Days that follow each other, with the names that they have, each once, in their order."""
    found: list[tuple[date, date, list[str]]] = []
    for day, name in sorted(days.items()):
        if found and found[-1][1] + timedelta(days=1) == day:
            first, _, names = found[-1]
            found[-1] = first, day, names if name in names else [*names, name]
        else:
            found.append((day, day, [name]))
    return found


def lines(first_year: int, last_year: int) -> list[list[str]]:
    """The holidays and then the made-up days of each year; a holiday over New Year's Eve is of the year it ends in."""
    package = f"the package chinesecalendar {version('chinesecalendar')}"
    source = f"State Council General Office notices on public holidays, through {package}"
    rows = []
    for year in range(first_year, last_year + 1):
        for kind, days in (("holiday", holidays), ("working_day", workdays)):
            for first, last, names in runs({day: str(name) for day, name in days.items()}):
                if last.year == year:
                    zh = "、".join(NAMES[name] for name in names)
                    en = " and ".join(ENGLISH.get(name, name) for name in names)
                    if kind == "working_day":
                        zh, en = f"{zh}调休上班", f"{en} make-up working day"
                    rows.append([first.isoformat(), last.isoformat(), kind, "", zh, en, source, ""])
    return rows
