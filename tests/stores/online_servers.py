"""Real servers for the online stores, each started for the tests and stopped after them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def redis_server(folder: Path, *settings: str, port: int = 0) -> Iterator[str]:
    """Run Redis, or Valkey, on a socket in a folder, or on a port too; give its URL."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("there is no redis-server and no valkey-server here: apt-get install one")
    pytest.importorskip("redis", reason="its client is not installed: pip install '.[redis]'")
    path = folder / "redis.sock"
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(path)]
    command += ["--dir", str(folder), "--save", "", *settings]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(path, server)
            yield f"unix://{path}"
        finally:
            server.kill()
            path.unlink(missing_ok=True)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run PostgreSQL, as its own user where this one is root, on a socket; give its conninfo."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("there is no PostgreSQL server here: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="its client is not installed: pip install '.[postgres]'")
    user = "postgres" if os.getuid() == 0 else None
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        if user:
            shutil.chown(folder, user)
        run = {"user": user, "stdout": subprocess.DEVNULL, "cwd": folder}
        data, quick = str(folder / "data"), ("-c", "fsync=off")
        subprocess.run(
            [programs[-1] / "initdb", "-D", data, "-A", "trust", "-U", "feast", "--no-sync"],
            check=True, **run,
        )  # fmt: skip
        command = [programs[-1] / "postgres", "-D", data, "-k", str(folder), *quick]
        command += ["-c", "listen_addresses=", "-c", "logging_collector=on"]
        with subprocess.Popen(command, **run) as server:
            try:
                _wait_for(folder / ".s.PGSQL.5432", server)
                while subprocess.run([programs[-1] / "pg_isready", "-q", "-h", folder]).returncode:
                    assert server.poll() is None, "the server has ended"
                    time.sleep(0.05)
                yield f"host={folder} dbname=postgres user=feast"
            finally:
                server.send_signal(signal.SIGINT)  # at once, and cleanly
                server.wait(20)


def _wait_for(path: Path, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        assert server.poll() is None, "the server has ended"
        try:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(path))
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the server did not listen within 20 s")
