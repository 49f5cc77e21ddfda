"""The private server: shared, ended by the last, safe from strangers, and whole after every kind of death.

Each test has a data folder of its own, copied from a cluster made once; users are real processes.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from gis.db import Access, access
from gis.errors import Conflict, Unavailable
from gis.server import MARK, Server, memory_bytes, private_server
from gis.settings import Settings
from tests.conftest import silent

HOME = Path(__file__).resolve().parents[1]
USER = """
import json, os, sys
from pathlib import Path
from gis.server import MARK, private_server
before = dict(os.environ)
data, cache, throwaway = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "yes"
with private_server(data, cache, lambda en, zh: None, throwaway=throwaway) as server:
    leaked = sorted(name for name in os.environ if os.environ[name] != before.get(name))
    print(json.dumps({"pid": server.pid, "url": server.url("postgres"), "leaked": leaked}), flush=True)
    sys.stdin.read()
"""


@dataclass
class User:
    """A process that uses the server of a data folder until it is told to leave."""

    process: subprocess.Popen[str]
    pid: int = 0  #: the postmaster's
    url: str = ""
    leaked: tuple[str, ...] = ()

    def arrive(self) -> User:
        """Wait until its server is there."""
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.pid, self.url, self.leaked = told["pid"], told["url"], tuple(told["leaked"])
        return self

    def leave(self) -> None:
        self.process.communicate("")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def user(settings: Settings) -> Iterator[Callable[..., User]]:
    """Starts users, and ends those that a failing test leaves."""
    users = []

    def start(data: Path, *, throwaway: bool = False) -> User:
        words = [sys.executable, "-P", "-c", USER, str(data), str(settings.cache), "yes" if throwaway else "no"]
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HOME)},
        )
        users.append(User(process))
        return users[-1]

    yield start
    for left in users:
        if left.process.poll() is None:
            left.kill()


@pytest.fixture(scope="module")
def workshop(settings: Settings) -> Iterator[Path]:
    """A folder that the server's user may reach, as pytest's own may not be when root runs the tests."""
    folder = settings.data.parent / f"server-tests-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    yield folder
    for lock in folder.glob("*/supervisor.lock"):
        until(lambda lock=lock: not alive_supervisor(lock.parent), "a supervisor does not end")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def made(workshop: Path, settings: Settings) -> Path:
    """A data folder whose server has run once, holds one table, and is stopped."""
    folder = workshop / "made"
    with private_server(folder, settings.cache, silent) as server:
        execute(server.url("postgres"), "create table kept (word text)", "insert into kept values ('留')")
        pid = server.pid
    until(lambda: not alive(pid) and not alive_supervisor(folder), "the first server does not stop")
    return folder


@pytest.fixture
def data(made: Path, workshop: Path) -> Path:
    """A data folder of the test's own that holds the table."""
    folder = workshop / uuid.uuid4().hex[:8]
    subprocess.run(["cp", "-a", str(made), str(folder)], check=True)
    return folder


def until(condition: Callable[[], object], complaint: str, *, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, complaint
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process runs (one that has ended but was not collected does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def alive_supervisor(folder: Path) -> bool:
    """Whether the supervisor of a data folder runs."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if str(folder) in words and "gis.supervisor" in words and alive(int(process.name)):
                return True
    return False


def execute(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements, each its own transaction; the rows of the last one, if it has any."""
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            cursor = conn.execute(statement)
        return cursor.fetchall() if cursor.description else []


def socket_of(user: User) -> Path:
    return Path(psycopg.conninfo.conninfo_to_dict(user.url)["host"])


def kept(url: str) -> list[tuple[object, ...]]:
    return execute(url, "select word from kept order by 1")


# ── shared by all, ended by the last ────────────────────────────────────────


def test_a_second_user_joins_and_the_last_one_out_ends_it(data: Path, user: Callable[..., User]) -> None:
    first, second = user(data).arrive(), user(data).arrive()
    assert first.pid == second.pid
    first.leave()
    assert kept(second.url) == [("留",)]
    second.leave()
    until(lambda: not alive(first.pid), "the server outlives its last user")
    until(lambda: not alive_supervisor(data), "the supervisor outlives its server")
    assert not socket_of(second).exists()


@pytest.mark.parametrize(
    "later_s", [0.0, 0.1, 0.2, None], ids=["at once", "soon", "while it stops", "when it has stopped"]
)
def test_what_was_written_is_there_for_whoever_comes_after_the_last_has_gone(
    data: Path, user: Callable[..., User], later_s: float | None
) -> None:
    first = user(data).arrive()
    execute(first.url, "insert into kept values ('新')")
    first.leave()
    gone = time.monotonic()
    until(lambda: not alive_supervisor(data) if later_s is None else time.monotonic() > gone + later_s, "it stays")
    second = user(data).arrive()
    assert kept(second.url) == [("新",), ("留",)]


def test_a_throwaway_folder_goes_with_its_last_user(workshop: Path, user: Callable[..., User]) -> None:
    folder = workshop / f"throwaway-{uuid.uuid4().hex[:8]}"
    only = user(folder, throwaway=True).arrive()
    assert folder.exists()
    only.leave()
    until(lambda: not folder.exists(), "the throw-away folder stays")
    until(lambda: not alive(only.pid), "its server stays")


def test_a_user_killed_does_not_keep_it_alive(data: Path, user: Callable[..., User]) -> None:
    only = user(data).arrive()
    only.kill()
    until(lambda: not alive(only.pid), "the server outlives its killed user")


@pytest.mark.parametrize("somebody_stays", [True, False])
def test_a_supervisor_killed_takes_the_server_along_and_the_next_start_works(
    data: Path, user: Callable[..., User], somebody_stays: bool
) -> None:
    first = user(data).arrive()
    execute(first.url, "insert into kept values ('新')")
    supervisor = parent_of(first.pid)
    assert os.getsid(supervisor) == supervisor, "Ctrl-C in the terminal must not reach it"
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not alive(first.pid), "the server outlives its supervisor")
    if not somebody_stays:
        first.kill()
    second = user(data).arrive()
    assert kept(second.url) == [("新",), ("留",)]
    socket = socket_of(second)
    assert [socket] == list(socket.parent.glob(f"{socket.name[: len('wanmi-') + 10]}-*")), "the stale one is swept"


def test_a_server_killed_is_started_again_by_the_next_user(data: Path, user: Callable[..., User]) -> None:
    first = user(data).arrive()
    execute(first.url, "insert into kept values ('新')")
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not alive_supervisor(data), "the supervisor does not see that its server is gone")
    second = user(data).arrive()
    assert second.pid != first.pid
    assert kept(second.url) == [("新",), ("留",)]


def test_many_starts_at_the_same_time_give_one_server(data: Path, user: Callable[..., User]) -> None:
    users = [user(data) for _ in range(4)]
    assert len({each.arrive().pid for each in users}) == 1


def test_a_throwaway_left_by_dead_processes_is_swept_and_others_are_not(workshop: Path, settings: Settings) -> None:
    stale, strange = workshop / "throwaway-stale", workshop / "throwaway-strange"
    for folder in (stale, strange):
        folder.mkdir()
        (folder / "file").touch()
    (stale / "start.lock").touch()
    with private_server(
        workshop / f"throwaway-{uuid.uuid4().hex[:8]}", settings.cache, silent, throwaway=True
    ) as server:
        assert not stale.exists()
        assert strange.exists(), "nothing of ours is in it"
        assert memory_bytes(server.pid) > 1_000_000


# ── closed to strangers ────────────────────────────────────────


@contextmanager
def running(data: Path, settings: Settings) -> Iterator[Server]:
    with private_server(data, settings.cache, silent) as server:
        yield server


def test_nobody_else_gets_in(data: Path, settings: Settings) -> None:
    with running(data, settings) as server:
        assert (data / "password").stat().st_mode & 0o777 == 0o600
        assert Path(server.socket).stat().st_mode & 0o777 == 0o700
        assert (data / "postgresql").stat().st_mode & 0o077 == 0
        assert execute(server.url("postgres"), "show listen_addresses") == [("",)]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url("postgres").replace(server.password, "wrong"))
        inodes = sockets_of(server.pid)
        listening = [line.split() for name in ("tcp", "tcp6") for line in proc_net(name) if line.split()[3] == "0A"]
        assert not [words for words in listening if words[9] in inodes]


def proc_net(name: str) -> list[str]:
    table = Path(f"/proc/net/{name}")
    return table.read_text().splitlines()[1:] if table.exists() else []


def sockets_of(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def test_what_the_server_needs_is_not_set_for_python(data: Path, user: Callable[..., User]) -> None:
    only = user(data).arrive()
    assert only.leaked == ()
    if os.geteuid() in (0, Path(f"/proc/{only.pid}").stat().st_uid):
        names = {line.split("=")[0] for line in Path(f"/proc/{only.pid}/environ").read_text().split("\0")}
        assert not [name for name in names if name.startswith(("PYTHON", "WANMI", "VIRTUAL"))]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_the_folder_of_another_owner_is_refused(data: Path, settings: Settings) -> None:
    os.chown(data, pwd.getpwnam("daemon").pw_uid, -1)
    with pytest.raises(Conflict) as caught, running(data, settings):
        pass
    assert "belongs to daemon, you are root" in caught.value.en
    assert "daemon" in caught.value.zh
    assert "--data FOLDER" in (caught.value.mend or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_cluster_of_another_owner_is_refused_with_the_command_to_type(data: Path, settings: Settings) -> None:
    cluster = data / "postgresql"
    os.chown(cluster, pwd.getpwnam("daemon").pw_uid, -1)
    with pytest.raises(Conflict) as caught, running(data, settings):
        pass
    assert f"chown -R wanmi: {cluster}" in (caught.value.mend or "")


def test_a_folder_that_cannot_be_made_is_refused(workshop: Path, settings: Settings) -> None:
    file = workshop / "a-file"
    file.touch()
    for folder in (file, file / "below"):
        with pytest.raises(Unavailable) as caught, running(folder, settings):
            pass
        assert str(folder) in caught.value.en
        assert "WANMI_DATA" in (caught.value.mend or "")


# ── a data folder that cannot be run ────────────────────────────────────────


@pytest.mark.parametrize("version", ["14", "99", "9.6"])
def test_a_folder_of_another_version_is_refused_with_the_commands_to_type(
    data: Path, settings: Settings, version: str
) -> None:
    made_by = data / "postgresql" / "PG_VERSION"
    made_by.write_text(f"{version}\n")
    with pytest.raises(Unavailable) as caught, running(data, settings):
        pass
    assert f"PostgreSQL {version.split('.')[0]}" in caught.value.en
    assert "wanmi backup FILE" in (caught.value.mend or "")
    assert "restore FILE" in (caught.value.mend or "")
    assert made_by.read_text() == f"{version}\n", "it is left as it is"


def test_a_set_up_interrupted_before_its_last_step_is_finished(data: Path, settings: Settings) -> None:
    (data / "password").rename(data / "password.new")
    with running(data, settings) as server:
        assert execute(server.url("postgres"), "select 1") == [(1,)]


def test_a_data_folder_whose_cluster_is_gone_is_not_begun_anew(data: Path, settings: Settings) -> None:
    shutil.rmtree(data / "postgresql")
    (data / "postgresql").symlink_to("/nonexistent")
    password = (data / "password").read_text()
    with pytest.raises(Unavailable), running(data, settings):
        pass
    assert (data / "password").read_text() == password
    assert not (data / "postgresql.new").exists()


@pytest.mark.parametrize("damage", [lambda made_by: made_by.unlink(), lambda made_by: made_by.write_text("")])
def test_a_damaged_cluster_is_refused_and_left_as_it_is(
    data: Path, settings: Settings, damage: Callable[[Path], object]
) -> None:
    damage(data / "postgresql" / "PG_VERSION")
    before = sorted(path.name for path in (data / "postgresql").iterdir())
    with pytest.raises(Unavailable) as caught, running(data, settings):
        pass
    assert "damaged" in caught.value.en
    assert sorted(path.name for path in (data / "postgresql").iterdir()) == before


def test_a_folder_with_other_things_is_refused_and_not_touched(workshop: Path, settings: Settings) -> None:
    folder = workshop / uuid.uuid4().hex[:8]
    (folder / "postgresql" / "15").mkdir(parents=True)
    mode = folder.stat().st_mode
    with pytest.raises(Conflict), running(folder, settings):
        pass
    assert [path.name for path in folder.iterdir()] == ["postgresql"]
    assert folder.stat().st_mode == mode


def test_a_server_that_crashed_as_the_last_user_left_does_not_hold_up_the_next(data: Path, settings: Settings) -> None:
    with running(data, settings) as server, psycopg.connect(server.url("postgres"), autocommit=True) as conn:
        conn.execute("create table if not exists filled as select generate_series(1, 300000) as n")
        conn.execute("insert into filled select * from filled")
        os.kill(conn.info.backend_pid, signal.SIGKILL)
    with access(settings.model_copy(update={"data": data}), silent) as again, again.maintenance() as conn:
        assert conn.exec_driver_sql("select 1").scalar() == 1


def test_locks_and_logs_are_for_the_owner_only(data: Path, settings: Settings) -> None:
    with running(data, settings):
        open_to_others = [path.name for path in data.iterdir() if path.is_file() and path.stat().st_mode & 0o077]
    assert open_to_others == [MARK]


def test_libpq_variables_of_the_shell_do_not_reach_the_private_server(
    settings: Settings, server: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPORT": "5433", "PGHOSTADDR": "127.0.0.1", "PGSERVICE": "nope"}.items():
        monkeypatch.setenv(name, value)
    with access(settings, silent, throwaway=True) as again, again.maintenance() as conn:
        assert conn.exec_driver_sql("select 1").scalar() == 1


def test_a_broken_cluster_is_refused_with_the_name_of_its_log(data: Path, settings: Settings) -> None:
    (data / "postgresql" / "global" / "pg_control").unlink()
    with pytest.raises(Unavailable) as caught, running(data, settings):
        pass
    assert "pg_control" in caught.value.en
    assert str(data / "server.log") in (caught.value.mend or "")
    assert "pg_control" in (data / "server.log").read_text()
    until(lambda: not alive_supervisor(data), "something still runs")


def test_a_set_up_that_was_interrupted_is_begun_anew(workshop: Path, settings: Settings) -> None:
    folder = workshop / uuid.uuid4().hex[:8]
    (folder / "postgresql.new" / "base").mkdir(parents=True)
    (folder / MARK).touch()
    (folder / "password.new").write_text("half")
    with running(folder, settings) as server:
        assert execute(server.url("postgres"), "select 1") == [(1,)]
    assert not list(folder.glob("*.new"))
