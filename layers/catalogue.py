"""The catalogue: component and event classes, filing conditions and limits, by edition."""

from __future__ import annotations

import pandas as pd
from sqlalchemy import Connection

from gis.db import copy_frame

AREA_CLASSES = ("A", "B", "C")


def load_catalogue(
    conn: Connection, edition: str, majors: pd.DataFrame, classes: pd.DataFrame, conditions: pd.DataFrame
) -> None:
    """Write one edition of the catalogue.

    majors     : code, name_zh, name_en
    classes    : code, name_zh, name_en, geometry_type, accuracy_class, source
    conditions : class_code, no, condition_zh, condition_en, closing_result_zh, source, limit_value, limit_basis;
                 a condition without a limit has none. The source knows one limit for all area classes: it is
                 written for each, so that a city may set them apart.
    """
    copy_frame(conn, majors[["code", "name_zh", "name_en"]].assign(edition=edition), "layers.major")
    columns = ["code", "name_zh", "name_en", "geometry_type", "accuracy_class", "source"]
    copy_frame(conn, classes[columns].assign(edition=edition), "layers.class")
    columns = ["class_code", "no", "condition_zh", "condition_en", "closing_result_zh", "source"]
    copy_frame(conn, conditions[columns].assign(edition=edition), "layers.condition")
    limited = conditions[conditions["limit_basis"].notna()]
    limits = pd.DataFrame(
        {
            "class_code": limited["class_code"],
            "condition_no": limited["no"],
            "value": limited["limit_value"].astype(float),
            "basis": limited["limit_basis"],
            "edition": edition,
        }
    )
    for area_class in AREA_CLASSES:
        copy_frame(conn, limits.assign(area_class=area_class), "layers.time_limit")
