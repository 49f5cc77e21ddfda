"""The law of the bulk path, small: SQL, frame, Locator and Dask agree (tests/bench/bulk_law.py is the whole)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection

from cases.standing import read_standing
from grids.city import City
from tests.bench.bulk_law import asked_at, compare, nasty_places, put_cells, put_rules, random_places, raw

APART = ("frame", "Locator", "Dask")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0", protocol="tcp"
    ) as made:
        yield made


@pytest.mark.parametrize("blocks", [0, 15])
def test_sql_frame_locator_and_dask_agree_on_every_place(
    conn: Connection, template: City, tmp_path: Path, cluster: Any, blocks: int
) -> None:
    rng = np.random.default_rng(blocks)
    if blocks:
        put_cells(conn, template, rng, blocks)
    put_rules(conn, template, rng, 40)
    standing = read_standing(conn, template)
    shapes = standing.cells.geometry.to_numpy()
    hard = nasty_places(shapes, rng, 5_000, template.tolerance_m)
    places = np.concatenate([hard, random_places(shapes, rng, 10_000)])
    found = compare(conn, template, standing, asked_at(conn, places, rng), tmp_path, cluster.scheduler_address)
    assert {name: found[name] for name in APART} == dict.fromkeys(APART, 0)
    assert min(found[name] for name in ("inside", "nearest", "outside", "answers")) > 50, "all is tried"
    assert raw(conn, template, standing, hard)["Locator wrong"] == 0
