"""What a fund's research reads is in an object store: the same answers, and a store that breaks."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.objects import Objects
from ingestion.base.settings import StoreUrl
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.copy_lakehouse import copy
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse.object_store import ObjectStore
from ingestion.plugins.offline import object_files
from ingestion.project import Project
from tests.conftest import MONDAY, SAMPLE
from tests.lakehouse.flaky import Breaking
from tests.lakehouse.s3 import BUCKET, environment
from tests.processes import Command, Ended, Forge, project_of

NAMES = ("NASDAQ:AAPL", "NYSE:GS", "NYSE:XOM")
NOW = MONDAY + timedelta(minutes=5)
SPAN = ("--from", "2021-03-01", "--to", "2021-03-31")
FEATURES = ("local_1d:RSI", "local_1d:momentum_60d")
OPTIONS = [word for name in FEATURES for word in ("--feature", name)]
COMMANDS: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "panel": lambda _, out: ("panel", *SPAN, *OPTIONS, "--out", out),
    "training-set": lambda _, out: (
        *("training-set", *SPAN, "--target", "fwd_return_5d", "--out", out),
    ),
    "prove": lambda made, _: ("prove", made),
    "reproduce": lambda made, out: ("reproduce", made, "--out", out),
    "factor-report": lambda _, out: (
        *("factor-report", *FEATURES, *SPAN, "--horizon", 5),
        *("--min-symbols", 2, "--quantiles", 2, "--out", out),
    ),
    "replay-decision": lambda *_: ("replay-decision", "2021-04-12", "--by", "local_1d:RSI"),
}
OFTEN = "TVFEAST_SCALE" in os.environ
"""Whether to break the store at several places, and under all that reads (make test-scale)."""
LOOKS: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "select": lambda *_: ("select", "--as-of", "2021-04-12T21:00Z", "--by", "local_1d:RSI"),
    "explain": lambda *_: ("explain", NAMES[0], "local_1d:RSI"),
    "status": lambda *_: ("status",),
    "report": lambda _, out: ("report", "--out", out),
    "verify": lambda *_: ("verify",),
    "compare-sources": lambda *_: ("compare-sources",),
}
TELLS_OF_ITS_PLACE = ("status", "report", "verify")
OF_A_RUN = {"out", "receipt", "known_at", "run_id", "place", "provenance", "page"}
"""What differs between two runs, or says where they were."""


def _give_up_soon() -> None:
    """Ask a store that does not answer again for a moment alone."""
    for made in (Objects, ObjectStore):
        kept = (made.__init__.__defaults__ or ())[:-1]
        made.__init__.__defaults__ = (*kept, timedelta(seconds=0.3))  # type: ignore[misc]
    object_files.LONGEST_RETRY = timedelta(seconds=0.3)


class Research:
    """A project in a folder, the same in a bucket, and a data set of it."""

    def __init__(self, folder: Path, forge: Forge, address: str) -> None:
        self.project, self.made = Project.from_environment(), folder / "made.parquet"
        self.bucket = f"s3://{BUCKET}/{secrets.token_hex(4)}"
        self.far = replace(
            self.project,
            folder=make_workspace(folder.parent / "far"),
            lakehouse_at=StoreUrl(self.bucket),
        )
        self._folder, self._forge, self._keys = folder, forge, environment(address)
        self.breaking, self._count = Breaking(), 0
        bars = pq.read_table(SAMPLE / "bars.parquet")
        opened = pc.field("timestamp")
        recent = (opened > MONDAY.timestamp() - 130 * 86_400) & (opened < MONDAY.timestamp())
        pq.write_table(bars.filter(recent & pc.field("symbol").isin(NAMES)), folder / "b.parquet")
        import_bars(self.project, ImportRequest((folder / "b.parquet",)))
        local_features(self.project)
        copy(str(self.project.lakehouse_at), self.bucket)
        assert self.run("panel", self.made, None).code == 0

    def run(self, command: str, out: Path, good: float | None) -> Ended:
        """Run a command on the folder, or on the bucket, whose server breaks after requests."""
        words = (COMMANDS | LOOKS)[command](self.made, out)
        variables = project_of(self.project, NOW)
        if good is not None:
            self.breaking.good = good
            address = {"AWS_ENDPOINT_URL": self.breaking.address}
            variables = project_of(self.far, NOW) | self._keys | address
        return self._forge.start(Command(*words, "--json"), variables, _give_up_soon).wait()

    def out(self) -> Path:
        self._count += 1
        return self._folder / f"out-{self._count}"


@pytest.fixture(scope="module")
def research(
    s3_address: str, forge: Forge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Research]:
    folder = make_workspace(tmp_path_factory.mktemp("research") / "workspace")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(s3_address).items():
            patch.setenv(name, value)
        patch.setenv("TVFEAST_PROJECT", str(folder))
        patch.setenv("TVFEAST_NOW", NOW.isoformat())
        made = Research(folder, forge, s3_address)
    with made.breaking.before(s3_address):
        yield made


def answer(document: Any) -> Any:
    """Return what two runs of a command must have in common."""
    if isinstance(document, dict):
        return {key: answer(each) for key, each in document.items() if key not in OF_A_RUN}
    return [answer(each) for each in document] if isinstance(document, list) else document


@pytest.mark.parametrize("command", [*COMMANDS, *(LOOKS if OFTEN else ())])
def test_it_answers_as_on_a_folder_and_says_so_where_the_store_fails(
    command: str, research: Research
):
    here = research.run(command, research.out(), None)
    there = research.run(command, research.out(), 10**6)
    assert (here.code, there.code) == (0, 0), here.err + there.err
    assert answer(there.json) == answer(here.json) or command in TELLS_OF_ITS_PLACE
    asked = 10**6 - int(research.breaking.good)
    for good in (0, asked // 3, asked // 2) if OFTEN else (asked // 2,):
        failed = research.run(command, out := research.out(), good)
        said = failed.out + failed.err
        assert failed.code == 2, (good, said)
        assert failed.line.startswith(f"tvfeast: {research.bucket}"), said
        assert "the store failed (503), again and again; no file is damaged" in failed.line, said
        assert set(failed.json) == {"error", "exit_code"}
        for word in ("Traceback", "corrupt", "backup", "move ", "delete", "made-up-"):
            assert word not in said, said
        assert not out.exists()
        assert not [*out.parent.glob(f"*{out.name}*")]
    for file in research.far.folder.rglob("*"):
        assert file.is_dir() or b"made-up-" not in file.read_bytes(), file
