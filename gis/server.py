"""A private PostGIS server: started by the first command, shared by all, ended by the last.

Every user of the server holds a shared ``flock`` on a lease file, which the kernel gives back even after SIGKILL.
A small supervisor in a session of its own owns the server; when the last lease is gone it stops the server and
removes throw-away folders. If the supervisor is killed, the kernel tells PostgreSQL to stop (PDEATHSIG, Linux).
No TCP port: a socket in a private folder, SCRAM with a generated password. Standard library only, so that the
supervisor is small.

It assumes a local file system with working ``flock`` (not NFS).
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from gis.errors import Conflict, Unavailable
from gis.locks import file_lock
from gis.packages import Say
from gis.postgis import Programs, find_programs

SERVER_USER = "wanmi"  #: whom the server runs as when root starts it
ROLE = "wanmi"  #: the PostgreSQL role that owns everything
LOOK_S = 0.2  #: how often the supervisor looks whether somebody still holds a lease

OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "80",
    "shared_buffers": "256MB",
    "work_mem": "32MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "2GB",
    "effective_cache_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
    "max_locks_per_transaction": "256",
}
THROWAWAY_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


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
        return f"postgresql://{ROLE}:{self.password}@/{quote(database)}?host={quote(self.socket, safe='')}"

    def memory_bytes(self) -> int:
        """Proportional resident memory of the postmaster and its children, shared pages counted once (Linux)."""
        pids = [self.pid, *_children(self.pid)]
        return sum(_proportional_bytes(pid) for pid in pids)


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

    with (data / "lease").open("a") as lease, file_lock(data / "start.lock", wait):
        fcntl.flock(lease, fcntl.LOCK_SH)
        if not _supervised(data):
            _start(data, cache, say, throwaway=throwaway)
        state = json.loads((data / "server.json").read_text())
        # The start lock may go now, the lease stays until the block ends.
        server = Server(
            folder=data,
            socket=state["socket"],
            password=(data / "password").read_text(),
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


def _own(data: Path) -> None:
    """Make the data folder, or refuse one that is not ours."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        owner = data.stat().st_uid
    except OSError as error:
        raise Unavailable(
            f"the data folder {data} cannot be made: {error.strerror}",
            f"无法创建数据目录 {data}",
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
    data.chmod(0o755 if owner == 0 else 0o700)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _supervised(data: Path) -> bool:
    """Whether a supervisor is alive and its server ready (the start lock is held by the caller)."""
    with (data / "supervisor.lock").open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return (data / "server.json").exists()
        return False


def _major(made_by: Path) -> int | None:
    """The version of PostgreSQL that made a cluster, or None where there is no cluster."""
    if not made_by.exists():
        return None
    try:
        return int(made_by.read_text().split(".")[0])
    except ValueError:
        raise Unavailable(
            f"{made_by} does not hold a version: the data folder is damaged",
            "数据目录已损坏",
            mend="restore it from your own copy of the folder; or choose another with --data and 'wanmi restore FILE'",
            file=made_by,
        ) from None


def _start(data: Path, cache: Path, say: Say, *, throwaway: bool) -> None:
    """Make the cluster if there is none, start a supervisor, wait until its server is ready."""
    (data / "server.json").unlink(missing_ok=True)
    cluster = data / "postgresql"
    made_by = cluster / "PG_VERSION"
    major = _major(made_by)
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
    with (data / "supervisor.log").open("w") as log:
        supervisor = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                "import gis.server; gis.server.supervise()",
                str(data),
                json.dumps(order),
            ],
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


def _demoted(server_user: int | None) -> dict[str, object]:
    """The arguments of subprocess that drop root to the server's user."""
    if server_user is None:
        return {}
    return {"user": server_user, "group": pwd.getpwuid(server_user).pw_gid, "extra_groups": []}


def _initialise(data: Path, programs: Programs, server_user: int | None) -> None:
    """Make the cluster beside its place and rename it: an interrupted start leaves nothing half-made."""
    password = secrets.token_urlsafe(24)
    beside = data / "postgresql.new"
    for old in (beside, data / "postgresql"):
        shutil.rmtree(old, ignore_errors=True)
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
        **_demoted(server_user),
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
    secret.rename(data / "password")
    beside.rename(data / "postgresql")


# ── the supervisor: a process of its own ─────────────────────────────────────────────────────────────────────


def supervise() -> None:
    """Run the server of a data folder until the last lease is gone. The supervisor's main function."""
    data, order = Path(sys.argv[1]), json.loads(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN if number != signal.SIGTERM else _stop_on_signal)
    guard = (data / "supervisor.lock").open("a")
    fcntl.flock(guard, fcntl.LOCK_EX)  # an older supervisor may still be stopping its server
    lease = (data / "lease").open("a")
    if _unused(lease):
        sys.exit(0)
    cluster = data / "postgresql"
    _end_orphan(cluster)
    _sweep_sockets(data)
    socket = tempfile.mkdtemp(prefix=_socket_prefix(data), dir="/tmp")
    if order["server_user"] is not None:
        os.chown(socket, order["server_user"], -1)
    options = {
        **OPTIONS,
        **(THROWAWAY_OPTIONS if order["throwaway"] else {}),
        "unix_socket_directories": socket,
    }
    programs = Programs(folder=Path(order["programs"]), major=order["major"], environment=order["environment"])
    command = [programs["postgres"], "-D", str(cluster)]
    command += [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
    parent = os.getpid()

    def with_the_supervisor() -> None:
        """In the child: stop (SIGINT, fast) when the supervisor dies; if it has died already, do not start."""
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    with (data / "server.log").open("w") as log:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=programs.run_environment(),
            preexec_fn=with_the_supervisor,
            **_demoted(order["server_user"]),  # type: ignore[call-overload]
        )
    ready = False
    try:
        while server.poll() is None:
            if not ready and _is_ready(cluster, server.pid):
                state = {key: order[key] for key in ("programs", "major", "environment", "origin")}
                _write_whole(data / "server.json", json.dumps({**state, "pid": server.pid, "socket": socket}))
                ready = True
            if _unused(lease):
                break
            time.sleep(LOOK_S if ready else 0.02)
    finally:
        (data / "server.json").unlink(missing_ok=True)
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
        code = server.wait()
        shutil.rmtree(socket, ignore_errors=True)
        if order["throwaway"]:
            shutil.rmtree(data, ignore_errors=True)
    sys.exit(0 if ready and code == 0 else 1)


def _unused(lease: IO[str]) -> bool:
    """Whether nobody holds a lease. If so it is ours now: whoever comes waits until this process is gone."""
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop_on_signal(number: int, frame: object) -> None:
    raise SystemExit(number)


def _is_ready(cluster: Path, pid: int) -> bool:
    """Whether this postmaster says in its pid file that it takes connections (a killed one's file says so too)."""
    with suppress(OSError, IndexError):
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return lines[0].strip() == str(pid) and lines[7].strip() == "ready"
    return False


def _end_orphan(cluster: Path) -> None:
    """Stop a postmaster of this cluster whose supervisor has gone, and wait for it."""
    for _ in range(600):
        try:
            pid = int((cluster / "postmaster.pid").read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError, IndexError):
            return
        if str(cluster) not in command:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
        time.sleep(0.1)


def _socket_prefix(data: Path) -> str:
    return f"wanmi-{hashlib.sha256(str(data).encode()).hexdigest()[:10]}-"


def _sweep_sockets(data: Path) -> None:
    """Remove socket folders that a killed supervisor of this data folder left (its lock is ours now)."""
    for stale in Path("/tmp").glob(_socket_prefix(data) + "*"):
        shutil.rmtree(stale, ignore_errors=True)


def _sweep_throwaways(parent: Path) -> None:
    """Remove throw-away data folders whose users and supervisor are all gone."""
    for folder in parent.glob("throwaway-*"):
        if folder.stat().st_uid != os.geteuid() or not (folder / "start.lock").exists():
            continue
        with (
            suppress(OSError),
            (folder / "lease").open("a") as lease,
            (folder / "supervisor.lock").open("a") as guard,
        ):
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _write_whole(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)


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
