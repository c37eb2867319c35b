"""Each job by each exit: its receipt is there and true, and so is the last line that it told."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ingestion.catalog import OHLCV_1D
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.lakehouse import LocalDisk, by_date, list_parts
from ingestion.replay import FaultPlan
from tests.declared import DATASETS, TV_TECHNICALS_1D
from tests.faults.world import ALL_KINDS, BARS, NEWS, SERVED, State, World
from tests.fuzzing import sized
from tests.processes import KILLED, Ended

pytestmark = pytest.mark.faults

OUTCOMES = {0: "done", 1: "failed", 2: "failed", 3: "refused", 4: "failed", 130: "interrupted"}
RECEIPTS = {
    "data-ingest": "data_ingest.json",
    "meta-ingest": "meta_ingest.json",
    "feature-ingest": "feature_ingest.tv_technicals_1d.json",
    "local-features": "local_features.json",
    "backfill": "backfill.json",
    "validate": "validate.json",
    "materialize": "materialize.json",
    "rebuild": "materialize.json",
    "compact": "compact.json",
    "parity": "parity.json",
    "import-bars": "import_bars.json",
    "verify": "accept.json",
    "accept-hole": "accept_hole.json",
    "withdraw-bars": "withdraw_bars.json",
    "flow-data": "flow_data.json",
}


@dataclass(frozen=True)
class AtWrite:
    """Do something to the process when it is about to write its n-th part, from 0 on.

    Bars are written a part at a time, so that the parts before are there.
    """

    number: int
    what: Callable[[], None]

    def __call__(self) -> None:
        import ingestion.bars.writing as writing
        import ingestion.lakehouse.writer as writer

        writing.PARTS_AT_ONCE = 1

        write, left = pq.write_table, [self.number]

        def write_table(*arguments: Any, **named: Any) -> None:
            if left[0] == 0:
                self.what()
            left[0] -= 1
            write(*arguments, **named)

        writer.pq.write_table = write_table


def asked_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def fault_of_ours() -> None:
    raise RuntimeError("planned")


def shot() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def down(world: World) -> None:
    world.scanner.plan = FaultPlan(chances={"server-error": 1.0})


def elsewhere(world: World) -> None:
    world.scanner.plan = FaultPlan(chances={"redirect": 1.0})


def half_known(world: World) -> None:
    symbols = json.loads(world.candidates.read_text())
    known = world.candidates.with_name("half.json")
    known.write_text(json.dumps([*symbols[:4], *(f"NASDAQ:NONE{n}" for n in range(4))]))


def half_import(world: World) -> None:
    """An import was killed after its first part."""
    ended = world.run("import-bars", world.restated, arrange=AtWrite(3, shot))
    assert ended.code == KILLED


def spoiled(dataset: Any) -> Callable[[World], None]:
    def spoil(world: World) -> None:
        list_parts(world.settings.lakehouse, dataset)[-1].path.write_bytes(b"no Parquet")

    return spoil


def bad_waiver(world: World) -> None:
    folder = world.settings.feast_repository / "waivers"
    folder.mkdir(exist_ok=True)
    (folder / "bad.toml").write_text("owner = 3\n")


def no_waiver(world: World) -> None:
    for path in (world.settings.feast_repository / "waivers").glob("*.toml"):
        path.unlink()


def an_hour_back(world: World) -> None:
    world.done("materialize")
    world.at -= timedelta(days=2)


def three_days_back(world: World) -> None:
    world.at -= timedelta(days=3)


def spoiled_date(world: World) -> None:
    """One of the two parts of a date that is over."""
    dates = by_date(list_parts(world.settings.lakehouse, OHLCV_1D)).values()
    next(parts for parts in dates if len(parts) > 1)[0].path.write_bytes(b"no Parquet")


def lost_part(world: World) -> None:
    list_parts(world.settings.lakehouse, OHLCV_1D)[0].path.unlink()


def nothing(_: World) -> None:
    """Leave all as it is."""


Case = tuple[int, State, tuple[object, ...], Callable[[World], None], Callable[[], None] | None]
SPAN = ("--from", "2021-04-05", "--to", "2021-04-12")
ALONE = ("--min-coverage", "0.9")

WITHDRAW = (
    *("withdraw-bars", "NASDAQ:AAPL", "2021-04-07", "--reason", "a bad print"),
    *("--to", "2021-04-09"),
)

CASES: list[Case] = [
    *((0, SERVED, (job, "SCAN"), nothing, None) for job in list(RECEIPTS)[:3]),
    *((4, SERVED, (job, "SCAN"), down, None) for job in list(RECEIPTS)[:3]),
    *((2, SERVED, (job, "SCAN"), elsewhere, None) for job in list(RECEIPTS)[:3]),
    *((3, SERVED, (job, "HALF"), half_known, None) for job in list(RECEIPTS)[:3]),
    *((1, BARS, (job, "SCAN"), nothing, AtWrite(0, fault_of_ours)) for job in list(RECEIPTS)[1:3]),
    (1, SERVED, ("data-ingest", "SCAN"), nothing, AtWrite(0, fault_of_ours)),
    (130, SERVED, ("feature-ingest", "SCAN"), nothing, AtWrite(0, asked_to_end)),
    (0, BARS, ("local-features",), nothing, None),
    (3, BARS, ("local-features",), half_import, None),
    (2, BARS, ("local-features",), spoiled(OHLCV_1D), None),
    (1, BARS, ("local-features",), nothing, AtWrite(2, fault_of_ours)),
    (130, BARS, ("local-features",), nothing, AtWrite(2, asked_to_end)),
    (0, BARS, ("backfill", *SPAN), nothing, None),
    (3, BARS, ("backfill", *SPAN), half_import, None),
    (130, BARS, ("backfill", *SPAN), nothing, AtWrite(2, asked_to_end)),
    (0, NEWS, ("validate",), nothing, None),
    (3, NEWS, ("validate",), bad_waiver, None),
    (2, NEWS, ("validate",), spoiled(TV_TECHNICALS_1D), None),
    (0, NEWS, ("materialize",), nothing, None),
    (2, NEWS, ("materialize",), an_hour_back, None),
    (0, NEWS, ("rebuild",), nothing, None),
    (2, NEWS, ("rebuild",), spoiled(TV_TECHNICALS_1D), None),
    (0, NEWS, ("compact",), nothing, None),
    (3, NEWS, ("compact",), spoiled_date, None),
    (1, NEWS, ("compact",), nothing, AtWrite(1, fault_of_ours)),
    (0, ALL_KINDS, ("parity",), nothing, None),
    (2, ALL_KINDS, ("parity", "--from", "2030-01-01"), nothing, None),
    (0, BARS, ("import-bars", "RESTATED"), nothing, None),
    (3, BARS, ("import-bars", "RESTATED"), three_days_back, None),
    (2, BARS, ("import-bars", "CANDIDATES"), nothing, None),
    (1, BARS, ("import-bars", "RESTATED"), nothing, AtWrite(3, fault_of_ours)),
    (0, NEWS, ("verify", "--accept", "ohlcv_1d", "--reason", "gone"), lost_part, None),
    (2, NEWS, ("verify", "--accept", "nowhere", "--reason", "gone"), nothing, None),
    (2, NEWS, ("accept-hole", "NASDAQ", "2021-04-05", "--reason", "none"), nothing, None),
    (0, BARS, WITHDRAW, nothing, None),
    (1, BARS, WITHDRAW, nothing, AtWrite(1, fault_of_ours)),
    (2, BARS, (*WITHDRAW[:2], "2021-04-11", *WITHDRAW[3:5]), nothing, None),
    (130, BARS, WITHDRAW, nothing, AtWrite(1, asked_to_end)),
    (0, SERVED, ("flow-data", "SCAN"), nothing, None),
    (3, SERVED, ("flow-data", "SCAN"), bad_waiver, None),
    (4, SERVED, ("flow-data", "SCAN"), down, None),
    (130, SERVED, ("flow-data", "SCAN"), nothing, AtWrite(1, asked_to_end)),
]


def covering(cases: list[Case]) -> list[Case]:
    """Return enough of them to see each job and each exit code once."""
    jobs, codes = Counter[str](), Counter[int]()
    covers = []
    for case in sorted(cases, key=lambda case: not case[0]):  # what fails comes first
        code, job = case[0], str(case[2][0])
        if not jobs[job] or not codes[code]:
            covers.append(case)
            jobs[job] += 1
            codes[code] += 1
    return covers


def words(world: World, case: tuple[object, ...]) -> list[object]:
    half = ("--candidates", world.candidates.with_name("half.json"), *ALONE)
    meant: dict[object, tuple[object, ...]] = {
        "SCAN": (*world.scan, "--retries", "0"),
        "HALF": (*half, "--backoff", "0.01", "--retries", "0"),
        "RESTATED": (world.restated,),
        "CANDIDATES": (world.candidates,),
    }
    return [word for each in case for word in meant.get(each, (each,))]


def stored(world: World) -> dict[str, int]:
    """Return the rows of each part that is there."""
    root = world.settings.lakehouse_at
    return {
        part.path.relative_to(root).as_posix(): pq.read_metadata(part.path).num_rows
        for dataset in DATASETS
        for part in list_parts(LocalDisk(root), dataset)
        if part.path.read_bytes()[:4] == b"PAR1"
    }


def runs(world: World) -> set[Path]:
    return set((world.settings.lakehouse_at / "_runs").iterdir())


@pytest.mark.parametrize(
    "case",
    sized(covering(CASES), CASES),
    ids=lambda case: f"{case[2][0]}-{case[0]}" if isinstance(case, tuple) else "",
)
def test_a_job_leaves_a_true_receipt_and_a_true_last_line(world: World, case: Case):
    code, state, command, prepare, strike = case
    world.restore(state)
    no_waiver(world)
    prepare(world)
    parts, folders = stored(world), runs(world)
    try:
        ended = world.run(*words(world, command), arrange=strike)
    finally:
        no_waiver(world)
    assert ended.code == code, ended
    (folder,) = runs(world) - folders
    job = str(command[0])
    receipt = json.loads((folder / RECEIPTS[job]).read_text())
    assert receipt["outcome"] == OUTCOMES[code]
    new = {name: rows for name, rows in stored(world).items() if name not in parts}
    assert {part["part"]: part["rows"] for part in receipt["parts"]} == new
    assert_true(ended, receipt, new)
    if prepare is nothing:
        assert check_lakehouse(world.settings).faults == []


def assert_true(ended: Ended, receipt: dict[str, Any], new: dict[str, int]) -> None:
    """The last line says what the receipt says, and of what is new neither more nor less."""
    if not ended.code:
        assert receipt["error"] is None
    elif ended.code == 1:
        assert ended.line.startswith("tvfeast: internal error: RuntimeError('planned')")
        assert receipt["error"] == "RuntimeError('planned')"
    elif ended.code == 130:
        assert (ended.line, receipt["error"]) == ("interrupted", "KeyboardInterrupt()")
    else:
        assert str(receipt["error"]) in ended.line
        for path in re.findall(r"/\S+\.(?:json|parquet)", ended.line):
            assert Path(path).exists(), path
        if "nothing was published" in ended.line or "published nothing new" in ended.line:
            assert not new
        if told := re.search(r"published(?: before that)?: (.*?)\); ", ended.line):
            counts = re.findall(r"\(([\d,]+) rows", told[1])
            assert sum(int(count.replace(",", "")) for count in counts) == sum(new.values())
