from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from ingestion.base.errors import GateRefused, InputError, NothingFetched
from ingestion.base.plain import plain
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import append_part
from ingestion.markets.universe import Market
from ingestion.project import Project
from ingestion.runs.run import Run, _revision, catalog_hash, code_version, peak_memory_mb
from ingestion.scanner import ScannerOptions
from tests.declared import CATALOG
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals

HEAD = {
    *("run_id", "job", "started", "finished", "duration_s", "peak_memory_mb", "code"),
    *("catalog_sha256", "settings", "request", "parts", "outcome", "error"),
}


@pytest.fixture
def settings(tmp_path: Path) -> Project:
    url = "https://user:s3cret@scanner.invalid/x"
    return Project(tmp_path, tmp_path / "lakehouse", url, session_id="s3cret")


def test_the_head_says_which_run_of_which_code_did_what(settings: Project, at):
    at(EVENING)
    run = Run(settings, "run-1", "some-job", {"first": date(2026, 1, 16)}, file="some_job.json")
    run.tell(rows=3)
    document = json.loads(run.write().path.read_text())
    assert document.keys() == {*HEAD, "rows"}
    assert document["run_id"] == "run-1"
    assert document["request"] == {"first": "2026-01-16"}
    assert document["started"] == document["finished"] == EVENING.isoformat()
    assert document["duration_s"] >= 0
    assert document["peak_memory_mb"] > 10
    assert len(document["catalog_sha256"]) == 64
    assert document["code"]["version"] == code_version()["version"] is not None


def test_the_hash_of_each_part_is_that_of_its_file(settings: Project):
    append_part(settings.lakehouse, GROUP, technicals(["A:A"]), "run-1")
    run = Run(settings, "run-1", "second job of the run", file="second.json")
    late = technicals(["A:A", "B:B"], EVENING + timedelta(days=1))
    part = append_part(settings.lakehouse, GROUP, late, "run-1")
    assert run.head()["parts"] == [
        {
            "part": part.path.relative_to(settings.lakehouse_at).as_posix(),
            "sha256": hashlib.sha256(part.path.read_bytes()).hexdigest(),
            "rows": 2,
        }
    ]


def read(run: Run) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run.receipt.path.read_text())
    return document


def test_a_receipt_written_before_the_part_is_written_again_with_it(settings: Project):
    with Run(settings, "run-1", "job", file="job.json") as run:
        run.tell(fetched=1)
        run.write()
        assert (read(run)["outcome"], read(run)["parts"]) == ("running", [])
        append_part(settings.lakehouse, GROUP, technicals(["A:A"]), "run-1")
    document = read(run)
    assert (document["outcome"], document["error"]) == ("done", None)
    assert (document["fetched"], len(document["parts"])) == (1, 1)


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (GateRefused("below\n the limit"), "refused", "below the limit"),
        (NothingFetched("no rows came"), "failed", "no rows came"),
        (InputError("no such file"), "failed", "no such file"),
        (OSError(28, "No space left"), "failed", "OSError(28, 'No space left')"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt()"),
        (SystemExit(143), "interrupted", "SystemExit(143)"),
    ],
)
def test_a_job_that_is_left_by_an_error_leaves_a_receipt_that_says_so(
    settings: Project, error: BaseException, outcome: str, told: str
):
    run = Run(settings, "run-1", "job", file="job.json")
    append_part(settings.lakehouse, GROUP, technicals(["A:A", "B:B"]), "run-1")
    run.tell(fetched=2)
    with pytest.raises(type(error)), run:
        raise error
    document = read(run)
    assert (document["outcome"], document["error"]) == (outcome, told)
    assert document["fetched"] == 2
    assert [part["rows"] for part in document["parts"]] == [2]
    assert run.published() == {GROUP.name: 2}
    assert run.published_so_far() == "published before that: tv_technicals_1d (2 rows)"


def test_a_receipt_that_cannot_be_written_hides_no_error(settings: Project):
    run = Run(settings, "run-1", "job", file="job.json")
    (settings.lakehouse_at / "_runs").mkdir(parents=True)
    (settings.lakehouse_at / "_runs" / "run-1").touch()  # where the folder should be
    with pytest.raises(InputError, match="the first error"), run:
        raise InputError("the first error")
    with pytest.raises(InputError, match="run-1"), run:
        pass


def test_a_job_that_has_published_nothing_says_so(settings: Project):
    assert (
        Run(settings, "run-1", "job", file="job.json").published_so_far() == "nothing was published"
    )


def test_no_secret_gets_into_a_receipt(settings: Project):
    options = ScannerOptions(headers={"Cookie": "s3cret-header", "Referer": "s3cret"})
    request = FeatureIngestRequest(Market("america"), scanner=options)
    run = Run(settings, "run-1", "job", request, file="job.json")
    with pytest.raises(InputError), run:
        raise InputError("the scanner says: Cookie sessionid=s3cret, Cookie: s3cret-header")
    text = run.receipt.path.read_text()
    assert "s3cret" not in text
    document = json.loads(text)
    assert "headers" not in document["request"]["scanner"]
    assert plain({"headers": {"Cookie": "s3cret"}}) == {"headers": ["Cookie"]}
    assert document["request"]["resume_window"] == 7200
    assert document["settings"]["scanner_url"] == "https://scanner.invalid/x"
    assert document["settings"]["session"] is True


def test_the_catalogs_hash_changes_with_any_declaration():
    first, *others = GROUP.features
    changed = replace(GROUP, features=[replace(first, unit="ms"), *others])
    groups = [changed if group == GROUP else group for group in CATALOG.groups]
    other = replace(CATALOG, groups=tuple(groups))
    assert catalog_hash(other) != catalog_hash(CATALOG)
    assert catalog_hash(replace(CATALOG)) == catalog_hash(CATALOG)


def test_imports_and_recomputations_leave_receipts_with_the_hashes_of_their_parts(
    tmp_path: Path, at
):
    at(datetime(2021, 6, 1, tzinfo=UTC))
    bars = tmp_path / "BINANCE_BTCUSDT_1d.csv"
    lines = [f"2021-03-{day:02},{day},{day + 2},{day - 1},{day + 1},9" for day in range(2, 8)]
    bars.write_text("\n".join(["date,open,high,low,close,volume", *lines]))
    settings = Project(tmp_path, tmp_path / "lakehouse", "https://scanner.invalid")
    imported = import_bars(settings, ImportRequest((bars,)))
    filled = backfill(settings, date(2021, 1, 1), date(2021, 12, 31))
    nothing = local_features(settings)
    expected = ((imported.receipt, 6), (filled.receipt, 6), (nothing.receipt, 0))
    for path, parts in expected:
        assert path is not None
        document = json.loads(path.path.read_text())
        assert document.keys() >= HEAD
        assert len(document["parts"]) == parts
        for part in document["parts"]:
            content = (settings.lakehouse_at / part["part"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == part["sha256"]
    assert json.loads(filled.receipt.path.read_text())["request"] == {
        "first": "2021-01-01",
        "last": "2021-12-31",
    }
    report = check_lakehouse(settings)
    assert (report.faults, report.parts, report.receipts) == ([], 12, 3)


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    path: Path
    secret: str = field(default="s3cret", repr=False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Inner(Path("a/b")), {"path": "a/b"}),
        (MappingProxyType({Colour.RED: (1, 2.5)}), {"red": [1, 2.5]}),
        ({"b", "a"}, ["a", "b"]),
        (timedelta(minutes=2), 120.0),
        (EVENING, "2026-01-16T21:30:00+00:00"),
        (None, None),
    ],
)
def test_values_become_those_of_json(value: object, expected: object):
    assert plain(value) == expected


REVISION = "3454f26768be76641833cec22e25720b6ad244aa"


def test_the_revision_is_read_in_every_form_that_git_keeps_it(tmp_path: Path):
    git = tmp_path / ".git"
    assert _revision(tmp_path) is None
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text(f"{REVISION}\n")
    assert _revision(tmp_path) == REVISION
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert _revision(tmp_path) is None
    (git / "packed-refs").write_text(f"# pack-refs\n{REVISION} refs/heads/main\n")
    assert _revision(tmp_path) == REVISION
    (git / "refs" / "heads" / "main").write_text("0" * 40 + "\n")
    assert _revision(tmp_path) == "0" * 40
    worktree = tmp_path / "worktree"
    own = git / "worktrees" / "w"
    own.mkdir(parents=True)
    worktree.mkdir()
    (worktree / ".git").write_text(f"gitdir: {own}\n")
    (own / "HEAD").write_text("ref: refs/heads/main\n")
    (own / "commondir").write_text("../..\n")
    assert _revision(worktree) == "0" * 40


def test_the_peak_of_memory_is_this_processs_and_not_its_parents():
    held = bytearray(b"x") * (400 << 20)
    program = "from ingestion.runs.run import peak_memory_mb; print(peak_memory_mb())"
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert peak_memory_mb() >= len(held) >> 20
    assert 10 < int(child.stdout) < 350


def test_a_sandbox_that_tells_no_peak_of_memory_is_no_error(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda _: "Name:\tpython\nVmRSS:\t 1024 kB\n")
    assert peak_memory_mb() > 10
