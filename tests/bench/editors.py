"""Many editors at once over HTTP, and whether the history tells every accepted edit and nothing else.

    ./wanmi python tests/bench/editors.py [--editors 20] [--seconds 60] [--components 100]

The demo city served by uvicorn in a thread; each editor has an account of its own. An editor reads one of the
components, waits up to 50 ms, and sends an edit of one to three fields from the version it saw, every tenth twice; now
and then it retires or revives one. Each value is written once in the whole run, so that the history says whose it is.
Then the history is replayed: every accepted value is in it, an accepted edit overwrote no value of its field that it
had not seen, and no refused value is in any version. What was edited stays in the history of that city.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from api.app import create_app
from api.deps import House
from api.serve import PatientProtocol, bind
from cases.photo import PhotoStore
from gis.settings import read_settings
from grids.city import read_city
from layers.accounts import add_account, add_token
from layers.edits import changed_fields, versions

Edit = dict[str, Any]  #: code, base, values (field → value), status, version (that answered)


def editor(port: int, token: str, codes: list[str], number: int, until: float, told: list[Edit]) -> None:
    """Edit until the time is over; what was sent and answered goes to ``told``."""
    rng = random.Random(number)
    client = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
        client.request(method, path, None if body is None else json.dumps(body), headers)
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())

    turn = 0
    while time.monotonic() < until:
        turn += 1
        code = rng.choice(codes)
        path = f"/components/{code}"
        status, past = ask("GET", f"{path}/versions")
        assert status == 200, past
        last = past["versions"][-1]
        base = last["version"]
        time.sleep(rng.random() * 0.05)
        if last["until"] is not None:
            status, found = ask("POST", f"{path}/revive", {"base": base, "reason": f"{number}-{turn}"})
            told.append({"code": code, "act": "revive", "status": status, "base": base, "values": {}})
            continue
        if rng.random() < 0.02:
            status, found = ask("POST", f"{path}/retire", {"base": base, "reason": f"{number}-{turn}"})
            told.append({"code": code, "act": "retire", "status": status, "base": base, "values": {}})
            continue
        fields = rng.sample(["name_zh", "data_source", "attrs.a", "attrs.b", "attrs.c"], rng.randint(1, 3))
        values = {field: f"{number}-{turn}-{field}" for field in fields}
        body: dict[str, Any] = {name: value for name, value in values.items() if not name.startswith("attrs.")}
        attrs = {name[6:]: value for name, value in values.items() if name.startswith("attrs.")}
        body |= {"base": base, "reason": f"{number}-{turn}"} | ({"attrs": attrs} if attrs else {})
        for _ in range(2 if turn % 10 == 0 else 1):
            status, found = ask("PATCH", path, body)
            told.append({"code": code, "act": "change", "status": status, "base": base, "values": values})
            told[-1]["version"] = found.get("version") if status == 200 else None


def replay(conn: Any, codes: list[str], told: list[Edit]) -> list[str]:
    """What is wrong with the history; empty when it tells every accepted edit and nothing that was refused."""
    wrong: list[str] = []
    accepted = [edit for edit in told if edit["status"] == 200 and edit["act"] == "change"]
    refused = [edit for edit in told if edit["status"] != 200 and edit["act"] == "change"]
    for code in codes:
        past = versions(conn, code)
        order = {version.id: at for at, version in enumerate(past)}
        written: dict[str, tuple[str, int]] = {}  # value → field and the place of the version that wrote it
        for at, (old, new) in enumerate(pairwise(past), start=1):
            if old.until is not None and old.until > new.since:
                wrong.append(f"{code}: two versions hold at {new.since}")
            for field, (_, value) in changed_fields(old, new).items():
                if value in written:
                    wrong.append(f"{code}: {value} was written twice")
                written[str(value)] = (field, at)
        given = {edit["values"][field]: field for edit in accepted if edit["code"] == code for field in edit["values"]}
        wrong += [f"{code}: {value} was accepted and is in no version" for value in given if value not in written]
        mine = {value for value in written if value[:1].isdigit() and value.count("-") == 2}
        wrong += [f"{code}: {value} is in the history and was not accepted" for value in mine if value not in given]
        for edit in refused:
            if edit["code"] == code:
                kept = {*edit["values"].values()} & {*written} - {*given}
                wrong += [f"{code}: {value} was refused and is stored" for value in kept]
        for edit in accepted:
            if edit["code"] != code:
                continue
            for field, value in edit["values"].items():
                if value not in written:
                    continue
                at = written[value][1]
                seen = order[edit["base"]]
                between = [one for one, (name, place) in written.items() if name == field and seen < place < at]
                wrong += [f"{code}: {value} overwrote {one}, which it had not seen" for one in between]
    return wrong


def main() -> None:
    """Print how many were accepted and refused, and what the replay found."""
    words = argparse.ArgumentParser()
    words.add_argument("--editors", type=int, default=20)
    words.add_argument("--seconds", type=float, default=60)
    words.add_argument("--components", type=int, default=100)
    said = words.parse_args()
    settings = read_settings()
    city = read_city(settings.home, settings.city)
    engine = create_engine(
        make_url(os.environ["WANMI_DATABASE_URL"]).set(drivername="postgresql+psycopg"), pool_size=30
    )
    run = f"bench-{time.time_ns() % 10**9}"
    tokens = []
    with engine.begin() as conn:
        for number in range(said.editors):
            add_account(conn, f"{run}-{number}", roles=["gis_editor"])
            tokens.append(add_token(conn, f"{run}-{number}"))
        wanted = text("select code from layers.component where upper_inf(valid) order by code limit :many")
        codes = list(conn.scalars(wanted, {"many": said.components}))
        conn.execute(text("select 1"))
    listening = bind("127.0.0.1", 0)
    house = House(city=city, engine=engine, reading="open", photos=PhotoStore(Path("photos")))
    app = create_app(house, threads=20, log=False)
    config = uvicorn.Config(app, http=PatientProtocol, log_config=None)
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    port = listening.getsockname()[1]
    told: list[list[Edit]] = [[] for _ in tokens]
    until = time.monotonic() + said.seconds
    before = {}
    with engine.connect() as conn:
        before = {code: len(versions(conn, code)) for code in codes}
    threads = [
        threading.Thread(target=editor, args=(port, token, codes, n, until, told[n])) for n, token in enumerate(tokens)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [edit for one in told for edit in one]
    for act in ("change", "retire", "revive"):
        counts = Counter(edit["status"] for edit in every if edit["act"] == act)
        print(f"{act:<8}" + ", ".join(f"{many:,} answered {status}" for status, many in sorted(counts.items())))
    with engine.connect() as conn:
        made = sum(len(versions(conn, code)) for code in codes) - sum(before.values())
        wrong = replay(conn, codes, every)
    print(f"{said.editors} editors, {said.seconds:g} s, {len(codes)} components: {made:,} versions made")
    print("the history tells every accepted edit and nothing refused" if not wrong else "\n".join(wrong[:20]))
    server.should_exit = True


if __name__ == "__main__":
    main()
