"""An S3 server on this machine, in memory: moto's, a program of its own.

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

SERVER = Path(__file__).resolve().parents[2] / ".venv-servers" / "bin" / "python"
_ONE_REQUEST_AT_A_TIME = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
app = DomainDispatcherApplication(create_backend_app)
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=False)
"""
"""With threads it looks at the condition of a write, and writes later: of 1,000 races for a lease
two had two winners, which S3 promises not to have."""
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
    command = [SERVER, "-c", _ONE_REQUEST_AT_A_TIME, str(port)]
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
