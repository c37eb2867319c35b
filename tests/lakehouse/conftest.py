"""A prefix of a bucket, on a server that the tests of this folder share."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lakehouse.s3 import BUCKET, SERVER, environment, s3_server


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    if not SERVER.exists():
        pytest.skip("`make servers` installs the server")
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return f"s3://{BUCKET}/{secrets.token_hex(4)} of/tests=1"
