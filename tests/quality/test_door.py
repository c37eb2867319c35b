from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from quality_rows import EVENING, local, spoiled, technicals

from ingestion.base.errors import GateRefused
from ingestion.project import Project
from ingestion.quality.gate import (
    check_at_door,
    refuse_unless_accepted,
    screen,
    write_quarantine,
)
from ingestion.quality.rules import FAILED
from ingestion.runs.quarantine import DATASET, QUARANTINE_FILE
from ingestion.runs.run import Run
from tests.declared import LOCAL_1D, TV_TECHNICALS_1D

GROUP = TV_TECHNICALS_1D


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: object) -> Project:
    monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path))
    return replace(Project.from_environment(), folder=tmp_path)


def quarantine(settings: Project) -> pa.Table:
    return pq.read_table(settings.lakehouse_at / "_runs" / "run" / QUARANTINE_FILE)


def test_what_is_quarantined_is_on_disk_with_its_reasons_and_all_columns(project: Project):
    rows = spoiled(technicals(30), {"RSI": {3: 101.0}})
    report = check_at_door(project, GROUP, rows, "run", fewest=29, most=30)
    refuse_unless_accepted(report, Run(project, "run", "job", file="receipt.json"))
    stored = quarantine(project)
    assert stored[DATASET].to_pylist() == [GROUP.name]
    assert stored[FAILED].to_pylist() == [["RSI bounds"]]
    assert stored.drop_columns([DATASET, FAILED]).equals(rows.slice(3, 1))
    assert report.accepted.num_rows == 29


def test_a_refused_batch_is_kept_whole_and_ends_with_3(project: Project):
    rows = technicals(30)
    report = check_at_door(project, GROUP, rows, "run", fewest=31)
    with pytest.raises(GateRefused, match=r"tv_technicals_1d: rows: .*receipt\.json") as refused:
        refuse_unless_accepted(report, Run(project, "run", "job", file="receipt.json"))
    assert refused.value.exit_code == 3
    stored = quarantine(project)
    assert stored.drop_columns([DATASET, FAILED]).equals(rows)
    assert stored[FAILED].to_pylist() == [["rows"]] * 30


def test_a_few_rows_are_judged_with_those_that_stay_beside_them(project: Project):
    """Of 20 rows, 6 without RSI are more than a quarter, and of 30 they are less."""
    whole = spoiled(technicals(30), {"RSI": dict.fromkeys(range(6)), "ADX": {25: 101.0}})
    rows, beside = whole.slice(0, 20), whole.slice(20)
    assert check_at_door(project, GROUP, rows, "alone").refused
    report = check_at_door(project, GROUP, rows, "run", beside=beside)
    assert not report.refused
    assert report.accepted.equals(rows)
    assert report.quarantined.num_rows == 0  # a stored row that breaks a rule stays where it is
    assert not (project.lakehouse_at / "_runs" / "run").exists()


def test_of_a_refused_date_the_rows_to_publish_alone_go_to_quarantine(project: Project):
    whole = spoiled(technicals(30), {"RSI": dict.fromkeys(range(15, 30))})
    rows, beside = whole.slice(0, 5), whole.slice(5)
    report = check_at_door(project, GROUP, rows, "run", beside=beside)
    assert report.refused
    assert report.accepted.num_rows == 0
    assert quarantine(project).drop_columns([DATASET, FAILED]).equals(rows)


def test_without_a_fault_there_is_no_quarantine_file(project: Project):
    assert not check_at_door(project, GROUP, technicals(30), "run").refused
    assert not (project.lakehouse_at / "_runs").exists()


def test_both_groups_of_a_run_share_one_file(project: Project):
    for group, rows in ((GROUP, technicals(3)), (LOCAL_1D, local(3))):
        parted = screen(group, spoiled(rows, {"RSI": {1: -5.0}}))
        write_quarantine(project.lakehouse, group, parted.quarantined, "run")
    stored = quarantine(project)
    assert stored[DATASET].to_pylist() == [GROUP.name, LOCAL_1D.name]
    assert stored[FAILED].to_pylist() == [["RSI bounds"]] * 2
    assert stored["momentum_60d"].null_count == 1
    assert stored["bar_update_timestamp"].null_count == 1


def test_a_waiver_lets_a_batch_pass_and_an_expired_one_does_not(
    project: Project, at: Callable[[datetime], None]
):
    folder = project.feast_repository / "waivers"
    folder.mkdir(parents=True)
    (folder / "rows.toml").write_text(
        'owner = "A"\nreason = "B"\nexpires = 2021-04-12\nwaives = ["tv_technicals_1d: rows"]\n'
    )
    at(EVENING)
    assert not check_at_door(project, GROUP, technicals(3), "run", fewest=9).refused
    at(datetime.fromisoformat("2021-04-13T00:00Z"))
    assert check_at_door(project, GROUP, technicals(3), "run", fewest=9).refused


def test_history_is_screened_by_the_same_rules(project: Project):
    rows = spoiled(local(50), {"returns_1d": {0: -2.0}, "Stoch.D": {1: float("nan")}})
    parted = screen(LOCAL_1D, rows)
    assert parted.quarantined[FAILED].to_pylist() == [["returns_1d bounds"], ["Stoch.D bounds"]]
    assert parted.accepted.equals(rows.slice(2))
    assert screen(LOCAL_1D, parted.accepted).accepted is parted.accepted
