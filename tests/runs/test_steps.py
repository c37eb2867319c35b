"""A run and its steps: one id, one lock, a receipt each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ingestion.base.errors import GateRefused, InputError, LakehouseLocked
from ingestion.jobs.profiles import forget_profiles
from ingestion.lakehouse import append_part
from ingestion.project import Project
from ingestion.runs.run import Run
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import technicals


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, tmp_path / "lakehouse", "https://scanner.invalid")


def receipts(project: Project) -> dict[str, tuple[str, str | None]]:
    """Return outcome and error by the receipt's name."""
    files = (project.lakehouse_at / "_runs").glob("*/*.json")
    read = {file.name: json.loads(file.read_text()) for file in files}
    return {name: (each["outcome"], each["error"]) for name, each in read.items()}


def test_the_steps_of_a_flow_share_its_id_and_its_lock_and_have_receipts_of_their_own(
    project: Project,
):
    with Run.open(project, "flow", file="flow.json") as flow:
        with Run.open(project, "one", file="one.json", step_of=flow) as step:
            assert step.id == flow.id
            append_part(project.lakehouse, GROUP, technicals(["A:A"]), step.id)
        # The step has ended, and the flow still has the lock.
        with (
            pytest.raises(LakehouseLocked, match=flow.id),
            Run.open(project, "other", file="other.json"),
        ):
            pass
        with pytest.raises(GateRefused), flow.child("two", file="two.json"):
            raise GateRefused("too old")
        assert flow.published() == step.published() == {GROUP.name: 1}
    assert receipts(project) == {
        "one.json": ("done", None),
        "two.json": ("refused", "too old"),
        "flow.json": ("done", None),
    }
    with Run.open(project, "other", file="other.json") as other:
        assert other.id > flow.id


def test_a_run_in_the_same_process_is_another_writer_too(project: Project):
    with (
        Run.open(project, "first", file="first.json"),
        pytest.raises(LakehouseLocked),
        Run.open(project, "second", file="second.json"),
    ):
        pass
    assert receipts(project).keys() == {"first.json"}


def test_a_job_that_does_not_write_needs_no_lock(project: Project):
    with (
        Run.open(project, "first", file="first.json"),
        Run.open(project, "reading", file="reading.json", writes=False),
    ):
        pass
    assert receipts(project) == {"first.json": ("done", None), "reading.json": ("done", None)}


def test_scratch_folders_are_gone_after_the_next_run_began(project: Project):
    with Run.open(project, "killed", file="killed.json") as run:
        folder = run.scratch("rows")
        folder.mkdir(parents=True)
    with Run.open(project, "next", file="next.json"):
        assert not folder.exists()


def test_forgetting_an_unknown_profile_leaves_a_receipt_that_no_reader_goes_by(project: Project):
    with pytest.raises(InputError, match="no profile 'x'"):
        forget_profiles(project, ("x",))
    ((name, (outcome, _)),) = receipts(project).items()
    assert (name, outcome) == ("forget_profile.json", "failed")
    with pytest.raises(InputError, match="no flow has run yet"):
        forget_profiles(project, ("x",))
