"""Feast's feature server over a repository, over HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests
import uvicorn
from feast import FeatureStore
from feast.feature_server import get_app


@contextmanager
def serving(store: FeatureStore) -> Iterator[Callable[[str, dict[str, Any]], Any]]:
    """Serve a repository; gives a function that posts to it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(get_app(store), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()

    def post(path: str, body: dict[str, Any]) -> Any:
        answer = requests.post(f"{address}{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield post
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
