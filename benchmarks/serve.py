"""``feast serve`` on our stores, beside what Feast's own server cannot save.

A server process answers requests for 500 symbols and for one. The floor, in turn with the requests
and not in the server, is what is left of a request when the store costs nothing: a protobuf a value
and event time, Feast's ``convert_response_to_dict``, and JSON.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.feast_data import OURS, SEED, open_store, symbols

FEATURES = tuple(f"f{number:02}" for number in range(17))
COUNT = 500
NOW = datetime(2026, 1, 16, 21, 30, tzinfo=UTC)
_CLIENTS = 8
_TICK = 1 / os.sysconf("SC_CLK_TCK")


def make(folder: Path) -> None:
    """Make a repository that serves one row per symbol."""
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, String

    folder.mkdir(parents=True)
    (folder / "feature_store.yaml").write_text(
        "project: bench\nprovider: local\nentity_key_serialization_version: 3\n"
        "registry: {path: registry.db, cache_ttl_seconds: 3600}\n"
        f"offline_store: {{type: {OURS['offline_store']}}}\n"
        f"online_store: {{type: {OURS['online_store']}, path: online.db}}\n"
    )
    symbol = Entity(name="symbol", join_keys=["symbol"], value_type=ValueType.STRING)
    fields = [Field(name="symbol", dtype=String), *(Field(name=f, dtype=Float64) for f in FEATURES)]
    source = FileSource(name="rows", path="rows.parquet", timestamp_field="event_timestamp")
    view = FeatureView(
        name="rows", entities=[symbol], ttl=timedelta(days=3), schema=fields, source=source
    )
    store = open_store(folder)
    store.apply([symbol, view])
    rng = np.random.default_rng(SEED)
    rows = {"symbol": symbols(COUNT), **{name: rng.normal(0, 10, COUNT) for name in FEATURES}}
    event = pa.repeat(pa.scalar(NOW, pa.timestamp("us", "UTC")), COUNT)
    table = pa.table({**rows, "event_timestamp": event})
    store._get_provider().online_store.online_write_table(
        store.config, store.get_feature_view("rows"), table
    )


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[int, int]]:
    """Run ``feast serve``; give its port and its process's id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    feast = str(Path(sys.executable).with_name("feast"))
    command = [feast, "-c", str(folder), "serve", "-h", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(
        # A worker is restarted after its number of requests: not while we measure.
        [*command, "--no-access-log", "--max-requests", "0", "--max-requests-jitter", "0"],
        env={**os.environ, "TVFEAST_NOW": NOW.isoformat()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while server.poll() is None:
            with contextlib.suppress(OSError), Client(port) as client:
                client.ask(symbols(1))
                break
            time.sleep(0.2)
        else:
            raise SystemExit("feast serve did not start")
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


class Client:
    """A connection to the server, kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, names: list[str]) -> bytes:
        """Ask for all features of symbols."""
        asked = {"features": [f"rows:{name}" for name in FEATURES], "entities": {"symbol": names}}
        return self.post(json.dumps(asked).encode())

    def post(self, body: bytes) -> bytes:
        """Send a request and return the answer."""
        headers = {"content-type": "application/json"}
        self._connection.request("POST", "/get-online-features", body, headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise SystemExit(f"feast serve answered {response.status}: {answer[:300]!r}")
        return answer


def floor(columns: dict[str, list[Any]]) -> bytes:
    """Build, convert and encode the answer for rows that are read already."""
    from feast.feature_server_utils import convert_response_to_dict
    from feast.protos.feast.serving.ServingService_pb2 import GetOnlineFeaturesResponse
    from feast.protos.feast.types.Value_pb2 import Value
    from google.protobuf.timestamp_pb2 import Timestamp

    response = GetOnlineFeaturesResponse()
    for name, column in columns.items():
        field, event = ("string_val", 0) if name == "symbol" else ("double_val", NOW.timestamp())
        response.metadata.feature_names.val.append(name)
        response.results.add(
            values=[Value(**{field: value}) for value in column],
            statuses=[1] * len(column),
            event_timestamps=[Timestamp(seconds=int(event))] * len(column),
        )
    answer = convert_response_to_dict(response)
    return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def cpu(process: int) -> float:
    """Return the CPU seconds of a process and its children, in the kernel's ticks."""
    taken = 0.0
    for each in (process, *_children(process)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        taken += (int(fields[11]) + int(fields[12])) * _TICK
    return taken


def _children(process: int) -> Iterator[int]:
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from _children(int(child))


def measure(folder: Path, repeat: int) -> None:
    """Print what 500 rows cost beside the floor, and how many requests of one row are served."""
    make(folder)
    body = json.dumps({
        "features": [f"rows:{name}" for name in FEATURES], "entities": {"symbol": symbols(COUNT)}
    }).encode()  # fmt: skip
    with serving(folder) as (port, process), Client(port) as client:
        served = json.loads(client.post(body))
        columns = {
            name: result["values"]
            for name, result in zip(
                served["metadata"]["feature_names"], served["results"], strict=True
            )
        }
        if json.loads(floor(columns)) != served:
            raise SystemExit("the floor answers otherwise than the server")
        ratios = []
        for _ in range(repeat):
            ratios.append(_round(client, body, columns, process))
        print(f"\nfeast serve: {COUNT} × {len(FEATURES)}, in milliseconds: goal ≤ 1.15 × floor")
        for name, place in (("wall", 0), ("CPU", 1)):
            ours, bare = ([run[who][place] for run in ratios] for who in (0, 1))
            ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
            print(
                f"  {name:5} ours {statistics.median(ours):6.1f}   floor "
                f"{statistics.median(bare):6.1f}   ours is {ratio:.2f} × the floor",
                flush=True,
            )
        print(f"feast serve: 1 × {len(FEATURES)}, {_CLIENTS} clients: goal > 1,000 requests/s")
        rates = [_rate(port, process) for _ in range(repeat)]
        rate, cost = (statistics.median(each) for each in zip(*rates, strict=True))
        print(f"  {rate:,.0f} requests/s, {cost:.2f} ms of the server's CPU each", flush=True)


def _round(
    client: Client, body: bytes, columns: dict[str, list[Any]], process: int, count: int = 20
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ask and build in turn; return wall and CPU milliseconds of a request, and of the floor."""
    asked, built = [], []
    served_cpu, floor_cpu = 0.0, 0.0
    for _ in range(count):
        before, began = cpu(process), time.perf_counter()
        client.post(body)
        asked.append(time.perf_counter() - began)
        served_cpu += cpu(process) - before
        started, began = time.process_time(), time.perf_counter()
        floor(columns)
        built.append(time.perf_counter() - began)
        floor_cpu += time.process_time() - started
    return (
        (statistics.median(asked) * 1e3, served_cpu / count * 1e3),
        (statistics.median(built) * 1e3, floor_cpu / count * 1e3),
    )


def _rate(port: int, process: int, seconds: float = 3.0) -> tuple[float, float]:
    """Return how many requests for one symbol are answered in a second, and the server's CPU ms."""
    names, counts = symbols(COUNT), [0] * _CLIENTS
    before, end = cpu(process), time.perf_counter() + seconds

    def ask(number: int) -> None:
        with Client(port) as client:
            while time.perf_counter() < end:
                client.ask([names[(number * 61 + counts[number]) % COUNT]])
                counts[number] += 1

    with ThreadPoolExecutor(_CLIENTS) as pool:
        list(pool.map(ask, range(_CLIENTS)))
    return sum(counts) / seconds, (cpu(process) - before) / sum(counts) * 1e3


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        measure(Path(temporary) / "served", 3)
