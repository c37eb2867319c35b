"""Feast's servers of some repositories, in one process of their own: a single import of Feast.

``python -m tests.feast_surface.servers FOLDER FEATURES OFFLINE REGISTRY UI …``: for each repository
the ports of what ``feast serve``, ``serve_offline``, ``serve_registry`` and ``ui`` start.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ingestion.jobs.serve.feast_repository import without_type_checks

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """Where the servers listen."""

    features: int
    offline: int
    registry: int
    ui: int


@contextmanager
def serving(*folders: Path) -> Iterator[list[Ports]]:
    """Run the servers of repositories."""
    with ExitStack() as stack:
        free = [stack.enter_context(socket.socket()) for _ in range(4 * len(folders))]
        for each in free:
            each.bind((HOST, 0))
        numbers = [each.getsockname()[1] for each in free]
    ports = [Ports(*numbers[4 * n : 4 * n + 4]) for n in range(len(folders))]
    told = [
        str(each) for folder, p in zip(folders, ports, strict=True) for each in (folder, *_of(p))
    ]
    log = folders[0] / "servers.log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "tests.feast_surface.servers", *told]
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=Path(__file__).parents[2])
    try:
        for number in numbers:
            _wait(process, number, log)
        yield ports
    finally:
        process.kill()
        process.wait()


def _of(ports: Ports) -> tuple[int, ...]:
    return (ports.features, ports.offline, ports.registry, ports.ui)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    while process.poll() is None:
        with socket.socket() as each:
            if each.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the servers did not start: {log.read_text()[-2000:]}")


def main(*told: str) -> None:
    """Serve until the process is killed."""
    import uvicorn

    with without_type_checks():
        from feast import FeatureStore, feature_server, offline_server, registry_server, ui_server

    threads = []
    for folder, *numbers in zip(*[iter(told)] * 5, strict=True):
        ports, store = Ports(*map(int, numbers)), FeatureStore(repo_path=folder)
        features = uvicorn.Config(feature_server.get_app(store), HOST, ports.features)
        ui = uvicorn.Config(ui_server.get_app(store, store.project), HOST, ports.ui)
        for serve in (
            uvicorn.Server(features).run,
            uvicorn.Server(ui).run,
            partial(offline_server.start_server, store, HOST, ports.offline),
            partial(registry_server.start_server, store, ports.registry),
        ):
            threads.append(threading.Thread(target=serve))
            threads[-1].start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
