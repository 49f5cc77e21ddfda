"""The doors of the hamlet opened for real: uvicorn on a port of this machine, accounts of every role, HTTP clients."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import httpx
import uvicorn
from sqlalchemy import Engine

from api.app import create_app
from api.deps import House
from api.serve import PatientProtocol, bind
from cases.photo import PhotoStore
from gis.crs import transform
from grids.city import City
from layers.accounts import CHANNELS, OF_A_UNIT, ROLES, add_account, add_token
from tests.hamlet import SRID, at

HOME = Path(__file__).resolve().parents[1]
PASSWORD = "four words nobody knows"


@dataclass
class Door:
    """A served hamlet, and what its tests need of it."""

    address: str
    engine: Engine
    house: House
    app: Any
    tokens: dict[str, str] = field(default_factory=dict)  #: by role, and by channel as channel-web …

    def client(self, who: str | None = None, **headers: str) -> httpx.Client:
        """A client that sends the token of a role or channel, or none."""
        sent = {**headers, **({"Authorization": f"Bearer {self.tokens[who]}"} if who else {})}
        return httpx.Client(base_url=self.address, headers=sent, timeout=30)

    def get(self, path: str, who: str | None = None, **query: Any) -> httpx.Response:
        """One GET."""
        with self.client(who) as client:
            return client.get(path, params=query or None)

    def post(self, path: str, body: Any, who: str | None = None, **headers: str) -> httpx.Response:
        """One POST of JSON."""
        with self.client(who, **headers) as client:
            return client.post(path, json=body)


def degrees(east_m: float, north_m: float) -> dict[str, float]:
    """lon and lat of a place given in metres from the hamlet's corner."""
    lon, lat = (float(axis) for axis in transform(*at(east_m, north_m), SRID, 4326))
    return {"lon": lon, "lat": lat}


def report(east_m: float = 50, north_m: float = 150, **more: Any) -> dict[str, Any]:
    """The body of a good report."""
    return {"class": "E0102", **degrees(east_m, north_m), **more}


@contextmanager
def opened_door(
    engine: Engine, city: City, reading: Literal["open", "accounts"] = "open", **house: Any
) -> Iterator[Door]:
    """Serve a city's database on a free port while the block runs."""
    with_calendar = replace(city, folder=HOME / "data" / "ankang")
    folder = TemporaryDirectory()
    inside = House(city=with_calendar, engine=engine, reading=reading, photos=PhotoStore(Path(folder.name)), **house)
    app = create_app(inside, threads=8, log=False)
    listening = bind("127.0.0.1", 0)
    config = uvicorn.Config(app, http=PatientProtocol, ws="none", log_config=None, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.01)
    try:
        yield Door(f"http://127.0.0.1:{listening.getsockname()[1]}", engine, inside, app)
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        folder.cleanup()


def make_accounts(door: Door) -> None:
    """One person of each role (all with PASSWORD) and each channel, with a token each."""
    with door.engine.begin() as conn:
        for role in ROLES:
            if role != "channel":
                unit = "WEST" if role in OF_A_UNIT else None
                name = role.replace("_", "-")
                collector = "K1" if role == "collector" else None
                add_account(conn, name, roles=[role], unit_code=unit, collector_code=collector, password=PASSWORD)
                door.tokens[role] = add_token(conn, name)
        for channel in CHANNELS:
            add_account(conn, f"channel-{channel}", roles=["channel"], channel=channel)
            door.tokens[f"channel-{channel}"] = add_token(conn, f"channel-{channel}")


def every_command(group: Any, before: str = "") -> dict[str, Any]:
    """All commands and groups below a group, by their whole name."""
    found: dict[str, Any] = {}
    for name, command in getattr(group, "commands", {}).items():
        found |= {before + name: command, **every_command(command, f"{before}{name} ")}
    return found
