"""SeaweedFS, an S3 server of its own, on this machine and on its disk (``make servers``)."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import S3Store

from tests.lakehouse.s3 import BUCKET, SERVER, environment, free_port

WEED = SERVER.with_name("weed")


class SeaweedFS:
    """A server with an empty bucket, which can be killed and started again.

    Parameters
    ----------
    folder
        For its files, on whatever disk.
    volumes, volume_mb
        How many volumes of which size it may fill.
    """

    def __init__(self, folder: Path, volumes: int = 20, volume_mb: int = 256) -> None:
        self._folder, self._volume_mb = folder, volume_mb
        self.room(volumes)
        # It listens at ports that are 10,000 higher, too.
        self._ports = [next(port for port in iter(free_port, 0) if port < 55_000) for _ in range(4)]
        self.address = f"http://127.0.0.1:{self._ports[3]}"
        (folder / "data").mkdir()
        keys = environment("")
        identity = {
            "name": "tests",
            "credentials": [
                {"accessKey": keys["AWS_ACCESS_KEY_ID"], "secretKey": keys["AWS_SECRET_ACCESS_KEY"]}
            ],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self.start()

    def room(self, volumes: int) -> None:
        """Say how many volumes it may fill, from the next start on."""
        self._volumes = volumes

    def start(self) -> None:
        """Start it, and wait until an object comes back as it was put: it takes seconds."""
        folder, ports = self._folder, self._ports
        command = [
            str(WEED), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-master.port={ports[0]}", "-master.telemetry=false", f"-volume.port={ports[1]}",
            "-filer", f"-filer.port={ports[2]}", "-s3", f"-s3.port={ports[3]}",
            "-s3.port.iceberg=0", "-s3.port.lance=0",  # of which each machine has one
            f"-s3.config={folder / 's3.json'}", f"-volume.max={self._volumes}",
            f"-master.volumeSizeLimitMB={self._volume_mb}",
        ]  # fmt: skip
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        self._wait()

    def _wait(self) -> None:
        keys = environment(self.address)
        store = S3Store(
            BUCKET, endpoint=self.address, region=keys["AWS_REGION"],
            access_key_id=keys["AWS_ACCESS_KEY_ID"],
            secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True}, retry_config={"max_retries": 0},
        )  # fmt: skip
        # A bucket is a folder of its file system.
        folder = f"http://127.0.0.1:{self._ports[2]}/buckets/{BUCKET}/"
        make = urllib.request.Request(folder, method="POST")
        end, why = time.monotonic() + 120, None
        while time.monotonic() < end:
            try:
                with suppress(urllib.error.HTTPError):  # it is there
                    urllib.request.urlopen(make, timeout=5).close()  # noqa: S310
                store.put("_ready", b"1")
                if bytes(store.get("_ready").bytes()) == b"1":
                    store.delete("_ready")
                    return
            except (BaseError, OSError) as error:
                why = error
                time.sleep(0.2)
        self.kill()
        log = (self._folder / "log").read_text()
        raise TimeoutError(f"SeaweedFS did not start ({why}):\n{log[-2000:]}")

    def kill(self) -> None:
        """Kill it; what it has confirmed is on its disk."""
        self._process.kill()
        self._process.wait()


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """Run a server with an empty bucket; yield its address."""
    server = SeaweedFS(folder)
    try:
        yield server.address
    finally:
        server.kill()
