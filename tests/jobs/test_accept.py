"""Parts that are gone for a reason: recorded once, by a command, and nothing else with them."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from ingestion.base.errors import InputError
from ingestion.jobs.audit.verify_lakehouse import accept_losses, check_lakehouse
from ingestion.lakehouse import append_part, open_lakehouse
from ingestion.project import Project
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.in_a_bucket import placed
from tests.lakehouse.technicals import EVENING, technicals

FRIDAY = f"{GROUP.storage}/date=2026-01-16"
FIRST, SECOND = (f"{FRIDAY}/part-{n}.parquet" for n in range(2))
REASON = "delisted by mistake; A. Person"


@pytest.fixture
def settings(tmp_path: Path) -> Project:
    """A lakehouse that has lost Friday's two parts."""
    root = placed(tmp_path / "lakehouse")
    for hour in range(2):
        late = EVENING + timedelta(hours=hour)
        append_part(open_lakehouse(root), GROUP, technicals(["A:A"], EVENING, late), f"run-{hour}")
    shutil.rmtree(root / FRIDAY)
    return Project(tmp_path, root, "https://scanner.invalid")


def lost(settings: Project) -> list[str]:
    return [fault.file for fault in check_lakehouse(settings).faults]


def test_a_loss_is_named_until_it_is_answered_for(settings: Project):
    assert lost(settings) == [FIRST, SECOND]
    accept_losses(settings, [FIRST], REASON)
    assert lost(settings) == [SECOND]
    assert check_lakehouse(settings).accepted == 1


@pytest.mark.parametrize("whole", [False, True])
def test_a_folder_answers_for_all_that_is_gone_below_it(settings: Project, whole: bool):
    accept_losses(settings, [str(settings.lakehouse_at / FRIDAY) if whole else FRIDAY], REASON)
    assert lost(settings) == []
    assert check_lakehouse(settings).accepted == 2


def test_the_receipt_keeps_the_reason_and_what_was_lost(settings: Project):
    before = {path: path.read_bytes() for path in settings.lakehouse_at.glob("_runs/*/*")}
    result = accept_losses(settings, [FIRST], REASON)
    receipt = json.loads(result.receipt.path.read_bytes())
    assert receipt["reason"] == REASON
    assert [(each["run_id"], each["part"]) for each in receipt["accepted"]] == [("run-0", FIRST)]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_what_is_made_anew_and_lost_again_is_named_again(settings: Project):
    accept_losses(settings, [FRIDAY], REASON)
    append_part(settings.lakehouse, GROUP, technicals(["A:A"]), "run-anew")
    assert lost(settings) == []
    (settings.lakehouse_at / FIRST).unlink()
    assert lost(settings) == [FIRST]


@pytest.mark.parametrize("accepted", [None, 7, [7], [{}], [{"run_id": [], "part": 7, "sha256": 7}]])
def test_a_receipt_that_is_damaged_accepts_nothing(settings: Project, accepted: object):
    receipt = accept_losses(settings, [FRIDAY], REASON).receipt
    document = json.loads(receipt.path.read_bytes()) | {"accepted": accepted}
    receipt.path.write_text(json.dumps(document))
    assert {FIRST, SECOND} <= set(lost(settings))


@pytest.mark.parametrize(
    "name", ["", ".", "/", "..", f"{FRIDAY}/part-7.parquet", "features/x", "_runs"]
)
def test_what_is_not_gone_cannot_be_accepted(settings: Project, name: str):
    with pytest.raises(InputError, match="names nothing of that name"):
        accept_losses(settings, [FIRST, name], REASON)
    assert lost(settings) == [FIRST, SECOND]


def test_a_loss_is_not_accepted_without_a_reason(settings: Project):
    with pytest.raises(InputError, match="--reason"):
        accept_losses(settings, [FIRST], "  ")
