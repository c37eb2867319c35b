"""An S3 server on this machine, in memory: ``moto_server``, a program of its own.

It is installed apart from the project, in ``.venv-servers`` (``make servers``): what it needs must
not decide which versions the project gets.
"""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = Path(__file__).resolve().parents[2] / ".venv-servers" / "bin" / "moto_server"
BUCKET = "lake"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[str]:
    """Run a server with an empty bucket; yield its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [SERVER, "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _make_bucket(address)
        yield address
    finally:
        server.kill()
        server.wait()


def _make_bucket(address: str) -> None:
    request = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")  # noqa: S310
    for _ in range(300):
        try:
            with urllib.request.urlopen(request, timeout=5):  # noqa: S310
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(address)


def environment(address: str) -> dict[str, str]:
    """Return what a client needs to know."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "made-up-key",
        "AWS_SECRET_ACCESS_KEY": "made-up-secret",
    }
