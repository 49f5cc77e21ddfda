"""Serving as a process: ports, signals, logs, slow and many clients, a database that goes away and comes back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import api.serve
from api.serve import Serving, bind
from gis.errors import Unavailable, UnfitSetting
from gis.settings import read_settings
from grids.city import City
from tests.doorstep import Door, degrees, report

HOME = Path(__file__).resolve().parents[1]


# ── the port ────────────────────────────────────────


def test_a_taken_port_is_said_with_another_to_take() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(Unavailable) as caught:
            bind("127.0.0.1", port)
    assert f"port {port} of 127.0.0.1 is taken" in caught.value.en
    assert "--port" in (caught.value.mend or "")
    assert str(port) in caught.value.zh


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "x y"])
def test_an_address_that_is_not_ours_is_refused(host: str) -> None:
    with pytest.raises(UnfitSetting) as caught:
        bind(host, 0)
    assert host in caught.value.en


def test_reading_is_open_only_in_a_demo_on_this_machine_unless_set(template: City) -> None:
    unset, opened, closed = (read_settings(reading=value) for value in (None, "open", "accounts"))
    for settings, host, demo, expected in [
        (unset, "127.0.0.1", True, "open"),
        (unset, "127.0.0.1", False, "accounts"),
        (unset, "0.0.0.0", True, "accounts"),
        (opened, "0.0.0.0", False, "open"),
        (closed, "127.0.0.1", True, "accounts"),
    ]:
        assert Serving(settings=settings, city=template, host=host, demo=demo).reading == expected


# ── a process of its own, on a private server of its own ────────────────────────────────────────


@contextmanager
def served(data: Path, *words: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``wanmi serve`` of the hamlet as a process, and its address; ended by SIGTERM."""
    with bind("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    variables = {**os.environ, "PYTHONPATH": str(HOME), "WANMI_LANGUAGE": "en", "WANMI_READING": "open", **environment}
    variables.pop("WANMI_DATABASE_URL", None)
    command = [sys.executable, "-P", "-m", "api", "--data", str(data), "serve", "--city", "ankang", "--port", str(port)]
    process = subprocess.Popen(
        [*command, *words], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None or answers(address):
                break
            time.sleep(0.1)
        yield process, address
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def answers(address: str) -> bool:
    """Whether /health answers that all is well."""
    try:
        return httpx.get(f"{address}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a small city loaded under the name of Ankang."""
    root = Path("/var/lib/wanmi") if os.geteuid() == 0 else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="serve-", dir=root) as folder:
        place = Path(folder) / "data"
        script = (
            "from dataclasses import replace\n"
            "from rich.console import Console\n"
            "from api.city import city_engine, load_city\n"
            "from api.progress import Stages\n"
            "from gis.db import access\n"
            "from gis.settings import read_settings\n"
            "from tests.hamlet import hamlet\n"
            "city, frames = hamlet()\n"
            "city = replace(city, id='ankang', edition='hamlet')\n"
            "with access(read_settings(), lambda en, zh: None) as server:\n"
            "    engine = city_engine(server, city)\n"
            "    stages = Stages('en', Console(quiet=True))\n"
            "    load_city(engine, city, frames=frames, stages=stages, say=lambda en, zh: None)\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(HOME), "WANMI_DATA": str(place)}
        environment.pop("WANMI_DATABASE_URL", None)
        Path(folder).chmod(0o755)
        subprocess.run([sys.executable, "-P", "-c", script], env=environment, check=True, timeout=120)
        yield place


def test_it_ends_cleanly_and_logs_a_line_of_json_per_request(data: Path) -> None:
    with served(data) as (process, address):
        assert httpx.get(f"{address}/locate", params={**degrees(50, 150), "class": "E0102"}).status_code == 200
        assert httpx.get(f"{address}/nothing").status_code == 404
        process.terminate()
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["path"] for line in lines if line["path"] != "/health"] == ["/locate", "/nothing"]
    for line in lines:
        assert set(line) == {"at", "client", "method", "path", "query", "status", "ms", "bytes"}
    assert "Traceback" not in err
    assert "serving Ankang on" in err


def test_ctrl_c_ends_it_too(data: Path) -> None:
    with served(data) as (process, _):
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        assert process.returncode == 0


def test_several_workers_share_one_port_and_end_together(data: Path) -> None:
    with served(data, "--workers", "2") as (process, address):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for _ in range(20):
            assert httpx.get(f"{address}/cases").status_code == 200
        process.terminate()
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert sum('"/cases"' in line for line in out.splitlines()) == 20
    for _ in range(100):  # Python's own helper of several processes ends a moment after them
        if not any(alive(pid) for pid in children):
            break
        time.sleep(0.1)
    assert not [pid for pid in children if alive(pid)]


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_database_goes_and_comes_back_while_serving(data: Path) -> None:
    """Requests fail with 503 and the one shape, then recover by themselves; with one worker and with two."""
    with served(data, "--workers", "2") as (_, address), httpx.Client(base_url=address, timeout=20) as client:
        assert client.get("/cases").status_code == 200
        for stop in (signal.SIGINT, signal.SIGKILL):
            postmaster = json.loads((data / "server.json").read_text())["pid"]
            os.kill(postmaster, stop)
            seen, deadline = set(), time.monotonic() + 120
            while time.monotonic() < deadline:
                answer = client.get("/cases")
                seen.add(answer.status_code)
                if answer.status_code == 503:
                    assert answer.json()["type"] == "urn:wanmi:error:Unavailable"
                    assert answer.headers["Retry-After"]
                    time.sleep(0.1)
                try:
                    new = json.loads((data / "server.json").read_text())["pid"]
                except FileNotFoundError:  # between two servers
                    new = None
                if answer.status_code == 200 and new and new != postmaster:
                    break
            assert seen <= {200, 503}
            assert client.get("/cases").status_code == 200, f"recovered after {stop.name}"


def test_clients_that_hang_up_and_a_log_that_nobody_reads_do_not_end_it(data: Path) -> None:
    with served(data) as (process, address):
        host, _, port = address.removeprefix("http://").partition(":")
        request = b"GET /fonts/DejaVu%20Sans/256-511.pbf HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(8):  # answers under way, then a reset
            with socket.socket() as rude:
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                rude.connect((host, int(port)))
                rude.sendall(request * 6)
                time.sleep(0.05)
                rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(0.1)
            assert process.poll() is None
        assert process.stdout is not None
        process.stdout.close()
        for _ in range(3):
            assert httpx.get(f"{address}/cases").status_code == 200
        process.stdout = None


def test_a_city_that_is_not_loaded_is_not_served(data: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HOME), "WANMI_LANGUAGE": "en"}
    environment.pop("WANMI_DATABASE_URL", None)
    command = [sys.executable, "-P", "-m", "api", "--data", str(data), "serve", "--city", "washington", "--port", "0"]
    done = subprocess.run([*command[:-1], "18999"], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "not loaded" in done.stderr
    assert "wanmi load washington" in done.stderr


# ── many and slow clients ────────────────────────────────────────


def test_five_hundred_connections_at_once_are_all_answered(door: Door) -> None:
    host, _, port = door.address.removeprefix("http://").partition(":")
    where = degrees(50, 150)
    path = f"/locate?lon={where['lon']}&lat={where['lat']}&class=E0102"
    line = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(line.encode())
        answer = await asyncio.wait_for(reader.read(), 150)
        writer.close()
        return answer.split(b"\r\n", 1)[0]

    async def all_of_them() -> list[bytes]:
        return await asyncio.gather(*(one() for _ in range(500)))

    firsts = asyncio.run(all_of_them())
    assert set(firsts) == {b"HTTP/1.1 200 OK"}


def test_slow_clients_hold_nobody_up_and_are_hung_up_on(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.serve, "HEAD_S", 0.5)
    host, _, port = door.address.removeprefix("http://").partition(":")
    slow = [socket.create_connection((host, int(port)), timeout=10) for _ in range(50)]
    for one in slow:
        one.sendall(b"GET /loc")  # and no more
    assert door.get("/cases", limit=1).status_code == 200
    for one in slow:
        assert one.recv(100) == b"", "closed without an answer"
        one.close()


def test_a_client_that_leaves_early_does_no_harm(door: Door) -> None:
    host, _, port = door.address.removeprefix("http://").partition(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as one:
            one.sendall(b"GET /maps/heat HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as one:
            one.sendall(b"POST /cases HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
    assert door.get("/cases", limit=1).status_code == 200


def test_reading_and_writing_at_once_stay_apart(door: Door) -> None:
    """While some report, others read: every page is whole, and nothing but 200 and 201 is answered."""
    statuses: list[int] = []

    def write() -> None:
        for number in range(10):
            statuses.append(door.post("/cases", report(10 + number, 10), "collector").status_code)

    def read() -> None:
        for _ in range(15):
            page = door.get("/cases", limit=1000)
            statuses.append(page.status_code)
            numbers = [row["no"] for row in page.json()["items"]]
            assert numbers == sorted(set(numbers), reverse=True)

    threads: list[Any] = [threading.Thread(target=work) for work in (write, write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(statuses) == {200, 201}
    assert len(statuses) == 50
