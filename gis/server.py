"""A private PostGIS server: started by the first command, shared by all, ended by the last.

Every user of the server holds a shared ``flock`` on a lease file, which the kernel gives back even after SIGKILL.
A small supervisor in a session of its own owns the server; when the last lease is gone it stops the server and
removes throw-away folders. If the supervisor is killed, the kernel tells PostgreSQL to stop (PDEATHSIG, Linux).
No TCP port: a socket in a private folder, SCRAM with a generated password. Standard library only, so that the
supervisor is small.

It assumes a local file system with working ``flock`` (not NFS).
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from gis.errors import Conflict, Unavailable
from gis.locks import file_lock, open_private
from gis.packages import Say
from gis.postgis import Programs, demoted, find_programs

SERVER_USER = "wanmi"  #: whom the server runs as when root starts it
MARK = "wanmi-data"  #: a file by which a data folder is known
ROLE = "wanmi"  #: the PostgreSQL role that owns everything


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs for as long as the block that got it."""

    folder: Path  #: the data folder
    socket: str  #: folder of the socket
    password: str
    pid: int  #: the postmaster's
    programs: Programs  #: its own version's pg_dump and the like
    lease: int  #: file descriptor of the lease

    def url(self, database: str) -> str:
        """libpq's address of one of its databases."""
        return f"postgresql://{ROLE}:{self.password}@/{quote(database)}?host={quote(self.socket, safe='')}&port=5432"

    def is_out_of_space(self) -> bool:
        """Whether its log says that the disk is full."""
        with suppress(OSError):
            return "No space left on device" in (self.folder / "server.log").read_text(errors="replace")
        return False


@contextmanager
def private_server(data: Path, cache: Path, say: Say, *, throwaway: bool = False) -> Iterator[Server]:
    """The server of the data folder, started if need be, kept while the block runs.

    With ``throwaway`` the folder is removed when the last user has gone. Raises Unavailable or Conflict with what
    would mend it: another owner, another version, no PostGIS, a server that does not start.
    """
    data = data.absolute()
    if throwaway:
        _sweep_throwaways(data.parent)
    _own(data)

    def wait() -> None:
        say("another command is starting the server; waiting for it", "另一个命令正在启动数据库,请稍候")

    with open_private(data / "lease") as lease, file_lock(data / "start.lock", wait):
        _take_lease(lease, say)
        if not _supervised(data):
            _start(data, cache, say, throwaway=throwaway)
        state = json.loads((data / "server.json").read_text())
        # The start lock may go now, the lease stays until the block ends.
        server = Server(
            folder=data,
            socket=state["socket"],
            password=_password(data),
            pid=state["pid"],
            programs=Programs(
                folder=Path(state["programs"]),
                major=state["major"],
                environment=state["environment"],
                origin=state["origin"],
            ),
            lease=os.dup(lease.fileno()),
        )
    try:
        yield server
    finally:
        os.close(server.lease)


def _take_lease(lease: IO[str], say: Say) -> None:
    """Take the lease; a supervisor that is stopping its server holds it until the server has ended."""
    try:
        fcntl.flock(lease, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        say("the last server is still stopping; waiting for it", "上一个数据库正在停止,请稍候")
        fcntl.flock(lease, fcntl.LOCK_SH)


def _password(data: Path) -> str:
    try:
        return (data / "password").read_text()
    except OSError as error:
        raise Unavailable(
            f"the data folder's password file cannot be read: {error.strerror}",
            "无法读取数据目录中的密码文件",
            mend="put the file back from a copy of the folder; or use another folder and 'wanmi restore FILE'",
            file=data / "password",
        ) from None


def _own(data: Path) -> None:
    """Make the data folder, or refuse one that is not ours: nothing that somebody else keeps there is touched."""
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o711 if os.geteuid() == 0 else 0o700)
        owner = data.stat().st_uid
        strange = any(data.iterdir()) and not (data / MARK).exists()  # in this order: two may begin at once
    except OSError as error:
        raise Unavailable(
            f"the data folder {data} cannot be used: {error.strerror}",
            f"无法使用数据目录 {data}",
            mend="choose another folder: --data FOLDER or WANMI_DATA",
            folder=data,
        ) from None
    if owner != os.geteuid():
        name = _user_name(owner)
        raise Conflict(
            f"the data folder {data} belongs to {name}, you are {_user_name(os.geteuid())}",
            f"数据目录 {data} 属于用户 {name}",
            mend=f"run as {name}, or choose another folder: --data FOLDER or WANMI_DATA",
            folder=data,
        )
    if strange:
        raise Conflict(
            f"{data} holds other things and is no data folder of Wanmi",
            f"{data} 中已有其他内容,不是 Wanmi 的数据目录",
            mend="choose a new or empty folder: --data FOLDER or WANMI_DATA",
            folder=data,
        )
    (data / MARK).touch()


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _supervised(data: Path) -> bool:
    """Whether a supervisor is alive and its server ready (the start lock is held by the caller)."""
    with open_private(data / "supervisor.lock") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return (data / "server.json").exists()
        return False


def _major(cluster: Path) -> int | None:
    """The version of PostgreSQL that made a cluster, or None where there is none. A damaged one is never remade."""
    if not os.path.lexists(cluster) and not (cluster.parent / "password").exists():
        return None
    try:
        return int((cluster / "PG_VERSION").read_text().split(".")[0])
    except (OSError, ValueError):
        raise Unavailable(
            f"the cluster {cluster} is damaged or its disk is not there: its PG_VERSION says nothing",
            f"数据库目录 {cluster} 已损坏",
            mend="put back your own copy of the data folder; or choose another with --data and 'wanmi restore FILE'",
            folder=cluster,
        ) from None


def _start(data: Path, cache: Path, say: Say, *, throwaway: bool) -> None:
    """Make the cluster if there is none, start a supervisor, wait until its server is ready."""
    (data / "server.json").unlink(missing_ok=True)
    cluster = data / "postgresql"
    if cluster.exists() and not (data / "password").exists() and (data / "password.new").exists():
        (data / "password.new").rename(data / "password")
    major = _major(cluster)
    programs = find_programs(cache, say, major=major)
    server_user = _server_user()
    if major is None:
        _initialise(data, programs, server_user)
    elif cluster.stat().st_uid != (server_user or os.geteuid()):
        raise Conflict(
            f"{cluster} belongs to {_user_name(cluster.stat().st_uid)}, not to {SERVER_USER}",
            "数据库目录的属主不符",
            mend=f"chown -R {SERVER_USER}: {cluster}   or choose another folder with --data",
            folder=cluster,
        )
    order = {
        "programs": str(programs.folder),
        "major": programs.major,
        "environment": programs.environment,
        "origin": programs.origin,
        "throwaway": throwaway,
        "server_user": server_user,
    }
    with open_private(data / "supervisor.log", empty=True) as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-P", "-m", "gis.supervisor", str(data), json.dumps(order)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    started = told = time.monotonic()
    while not (data / "server.json").exists():
        if supervisor.poll() is not None:
            _refuse_start(data)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"the server is starting ({told - started:.0f} s; recovering)", "数据库正在恢复,请稍候")
        time.sleep(0.02)
    supervisor.returncode = 0  # it lives on in its own session; no warning about a child left behind


def _refuse_start(data: Path) -> None:
    lines = [
        line
        for name in ("supervisor.log", "server.log")
        if (data / name).exists()
        for line in (data / name).read_text(errors="replace").splitlines()
    ]
    worst = [line for line in lines if "FATAL" in line or "PANIC" in line or "rror" in line][-3:] or lines[-3:]
    full = any("No space left" in line for line in lines)
    raise Unavailable(
        "the private PostgreSQL did not start: " + " / ".join(worst),
        "私有 PostgreSQL 启动失败",
        mend="free some space, or choose another folder with --data" if full else f"{data / 'server.log'} says why",
        folder=data,
    )


def _server_user() -> int | None:
    """The uid the server runs as: None for an ordinary user; for root a fixed system user, made when missing."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(SERVER_USER).pw_uid
    make = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/var/lib/wanmi"]
    make += ["--shell", "/usr/sbin/nologin", SERVER_USER]
    with suppress(OSError):
        subprocess.run(make, capture_output=True)
    try:
        return pwd.getpwnam(SERVER_USER).pw_uid
    except KeyError:
        raise Unavailable(
            f"PostgreSQL refuses to run as root, and the system user {SERVER_USER} could not be made",
            f"PostgreSQL 不能以 root 运行,且无法创建系统用户 {SERVER_USER}",
            mend=f"{' '.join(make)}   or run as an ordinary user",
        ) from None


def _initialise(data: Path, programs: Programs, server_user: int | None) -> None:
    """Make the cluster beside its place and rename it: an interrupted start leaves nothing half-made."""
    password = secrets.token_urlsafe(24)
    beside = data / "postgresql.new"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    secret = data / "password.new"
    with os.fdopen(os.open(secret, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(password)
    if server_user is not None:
        os.chown(beside, server_user, pwd.getpwuid(server_user).pw_gid)
        os.chown(secret, server_user, -1)
    command = [programs["initdb"], "-D", str(beside), "-U", ROLE, f"--pwfile={secret}", "-A", "scram-sha-256"]
    command += ["-E", "UTF8", "--lc-collate=C", "--lc-ctype=C.UTF-8", "--lc-messages=C", "--no-sync"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd="/",
        env=programs.run_environment(),
        **demoted(server_user),
    )  # type: ignore[call-overload]
    if done.returncode:
        shutil.rmtree(beside, ignore_errors=True)
        secret.unlink(missing_ok=True)
        text = (done.stderr or done.stdout).strip()
        raise Unavailable(
            f"initdb failed: {text[-400:]}",
            "数据库初始化失败",
            mend="free some space, or choose another folder with --data"
            if "No space left" in text
            else "every folder above the data folder must be open to the server's user (o+x); or choose --data",
            folder=data,
        )
    os.chown(secret, os.geteuid(), -1)
    beside.rename(data / "postgresql")
    secret.rename(data / "password")  # last: _start makes up for an interruption between the two


def _sweep_throwaways(parent: Path) -> None:
    """Remove throw-away data folders whose users and supervisor are all gone."""
    for folder in parent.glob("throwaway-*"):
        if folder.stat().st_uid != os.geteuid() or not (folder / "start.lock").exists():
            continue
        with (
            suppress(OSError),
            open_private(folder / "lease") as lease,
            open_private(folder / "supervisor.lock") as guard,
        ):
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def memory_bytes(postmaster: int) -> int:
    """Resident memory of a postmaster and its children, pages they share counted once (Linux)."""
    return sum(_proportional_bytes(pid) for pid in (postmaster, *_children(postmaster)))


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _proportional_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
