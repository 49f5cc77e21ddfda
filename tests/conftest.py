"""The real thing for every test: a throw-away PostGIS, a template database, one rolled-back transaction a test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from rich.console import Console
from sqlalchemy import Connection, Engine, text

from api.city import city_engine, load_city
from api.progress import Stages
from gis.db import Access, access, advisory_lock, database_name, list_databases
from gis.settings import Settings, read_settings
from grids.city import City
from tests.doorstep import Door, make_accounts, opened_door
from tests.hamlet import hamlet

hypothesis.settings.register_profile("wanmi", deadline=None)  # a law says what holds, not how fast
hypothesis.settings.load_profile("wanmi")
SHARED = Path(__file__).resolve().parents[2] / "shared"


def silent(en: str, zh: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="session")
def settings(testrun_uid: str) -> Settings:
    """Settings with a data folder that all workers of this run share and that goes when the last one ends."""
    root = Path("/var/lib/wanmi") if os.geteuid() == 0 else Path(tempfile.gettempdir())
    return read_settings(data=root / f"throwaway-{testrun_uid[:12]}", language="en")


@pytest.fixture(scope="session")
def server(settings: Settings) -> Iterator[Access]:
    """The throw-away server of this run."""
    settings.data.parent.mkdir(parents=True, exist_ok=True)
    with access(settings, silent, throwaway=True) as running:
        yield running


@pytest.fixture
def stages() -> Stages:
    """Progress that nobody reads."""
    return Stages("en", Console(quiet=True))


@pytest.fixture(scope="session")
def template(server: Access) -> City:
    """The hamlet (tests/hamlet.py) loaded once into the database ``wanmi_hamlet``; tests work on copies of it."""
    city, frames = hamlet()
    with template_lock(server):
        if city.id not in list_databases(server):
            engine = city_engine(server, city)
            load_city(engine, city, frames=frames, stages=Stages("en", Console(quiet=True)), say=silent)
            engine.dispose()
    return city


@pytest.fixture(scope="module")
def door(server: Access, template: City, worker_id: str, request: pytest.FixtureRequest) -> Iterator[Door]:
    """The hamlet served over HTTP, everybody may read; a copy of its database for each module of tests."""
    name = f"door_{request.module.__name__.rpartition('.')[2]}_{worker_id}"
    copied(server, template, name).dispose()
    engine = server.serving_engine(f"copy_{name}", 8, 4.0)
    with opened_door(engine, template) as made:
        make_accounts(made)
        yield made
    engine.dispose()


@contextmanager
def template_lock(server: Access) -> Iterator[None]:
    """Workers make and copy the template one after the other (a template in use cannot be copied)."""
    engine = server.engine("postgres")
    with advisory_lock(engine, "template"):
        yield
    engine.dispose()


@pytest.fixture(scope="session")
def hamlet_engine(server: Access, template: City, worker_id: str) -> Iterator[Engine]:
    """This worker's own copy of the hamlet; nothing is committed to it."""
    engine = copied(server, template, worker_id)
    yield engine
    engine.dispose()


@pytest.fixture
def conn(hamlet_engine: Engine) -> Iterator[Connection]:
    """A connection to the hamlet whose transaction is rolled back."""
    with hamlet_engine.connect() as connection:
        yield connection
        connection.rollback()


def copied(server: Access, city: City, name: str) -> Engine:
    """An engine on a fresh copy of a city's database, which the test may change as it likes."""
    return server.engine(copy_database(server, database_name(city.id), f"copy_{name}"))


def copy_database(server: Access, source: str, database: str) -> str:
    """A fresh database ``database``, a copy of ``source`` (which nobody may be using); returns its name."""
    with template_lock(server), server.maintenance() as connection:
        connection.execute(text(f'drop database if exists "{database}" with (force)'))
        connection.execute(text(f'create database "{database}" template "{source}"'))
    return database


@pytest.fixture(scope="session")
def blank(server: Access) -> str:
    """A database with the schema and no city; tests work on copies of it (see copy_database)."""
    city = replace(hamlet()[0], id="blank")
    with template_lock(server):
        if city.id not in list_databases(server):
            city_engine(server, city).dispose()
    return database_name(city.id)


@pytest.fixture(scope="session")
def washington_files() -> Path:
    """The real city's files, beside the project; a fresh clone has none."""
    folder = SHARED / "data" / "washington"
    if not (folder / "dc_base.gpkg").exists():
        pytest.skip("the open data of Washington are not in ../shared/data/washington (data/washington/README.md)")
    return folder
