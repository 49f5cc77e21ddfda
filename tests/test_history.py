"""History: a change is recorded once, its rows share its instant, and an instant has a zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest
from sqlalchemy import Connection, text

from gis.errors import Invalid
from gis.history import Version, record_change

SINCE = datetime(2026, 3, 2, 12, tzinfo=timezone(timedelta(hours=8)))


def test_a_change_says_who_when_why_and_from_what(conn: Connection) -> None:
    before = conn.scalar(text("select clock_timestamp()"))
    version = record_change(conn, since=SINCE, actor="甲", reason="重新测绘", source="survey.gpkg")
    row = conn.execute(text("select * from gis.change where id = :id"), {"id": version.change_id}).one()
    assert (row.actor, row.reason, row.source) == ("甲", "重新测绘", "survey.gpkg")
    assert row.at >= before, "the change is of now, whatever instant its rows hold from"
    assert version.since == SINCE


def test_each_change_has_a_number_of_its_own(conn: Connection) -> None:
    numbers = [record_change(conn, since=SINCE, actor="a", reason="b").change_id for _ in range(3)]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("words", ["", " ", "a\0", "\udc80"])
@pytest.mark.parametrize("lacking", ["actor", "reason"])
def test_a_change_without_a_person_or_a_reason_is_refused(conn: Connection, lacking: str, words: str) -> None:
    with pytest.raises(Invalid, match=lacking):
        record_change(conn, since=SINCE, **{"actor": "a", "reason": "b", lacking: words})


def test_an_instant_without_a_zone_is_refused(conn: Connection) -> None:
    naive = datetime(2026, 3, 2, 12)
    with pytest.raises(Invalid, match="no time zone"):
        Version(naive, 1)
    with pytest.raises(Invalid, match="no time zone"), conn.begin_nested():
        record_change(conn, since=naive, actor="a", reason="b")


def test_the_stamp_holds_from_the_instant_on_whatever_zone_it_is_written_in(conn: Connection) -> None:
    frame = pd.DataFrame({"code": ["1", "2"]}, index=[7, 8])
    stamped = Version(SINCE, 3).stamp(frame)
    assert list(frame.columns) == ["code"], "the frame itself is left as it was"
    assert stamped.index.tolist() == [7, 8]
    assert stamped["change_id"].tolist() == [3, 3]
    row = conn.execute(
        text("select lower(v) as since, lower_inc(v) as included, upper_inf(v) as open from cast(:v as tstzrange) v"),
        {"v": stamped["valid"].iloc[0]},
    ).one()
    assert (row.since, row.included, row.open) == (SINCE.astimezone(UTC), True, True)
