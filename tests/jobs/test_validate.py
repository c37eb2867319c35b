"""The promotion gate over a lakehouse of the sample's real bars."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.base.errors import GateRefused, InputError, LakehouseLocked, demand_all
from ingestion.cli.checks import validate_text
from ingestion.cli.commands import cli
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.validate import validate
from ingestion.jobs.compute.local_features import backfill
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import (
    append_part,
    lakehouse_lock,
    list_parts,
    read_file,
    write_run_file,
)
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner
from tests.conftest import MONDAY, SAMPLE
from tests.declared import GROUPS, LOCAL_1D, TV_TECHNICALS_1D

TV = TV_TECHNICALS_1D
LATER = "99990101T000000Z-a"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, sample_panel: Panel) -> Path:
    """A project with a snapshot of Monday, and ``local_1d`` of the weeks before."""
    project = make_workspace(tmp_path_factory.mktemp("built") / "project")
    with pytest.MonkeyPatch.context() as patch, ReplayScanner(sample_panel) as scanner:
        patch.setenv("TVFEAST_PROJECT", str(project))
        patch.setenv("TVFEAST_NOW", MONDAY.isoformat())
        settings = replace(Project.from_environment(), scanner_url=scanner.url)
        candidates = read_candidates(SAMPLE / "portfolio_candidates.json")
        feature_ingest(settings, FeatureIngestRequest(candidates))
        import_bars(settings, ImportRequest(files=(SAMPLE / "bars.parquet",)))
        backfill(settings, date(2021, 3, 10), MONDAY.date())
    return project


@pytest.fixture
def settings(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: Callable[[datetime], None]
) -> Project:
    """A copy of it for each test, on Monday evening."""
    project = tmp_path / "project"
    shutil.copytree(built, project)
    monkeypatch.setenv("TVFEAST_PROJECT", str(project))
    return Project.from_environment()


def receipt(settings: Project) -> dict[str, Any]:
    (path,) = (settings.lakehouse_at / "_runs").glob("*/validate.json")
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def rewrite(settings: Project, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the newest snapshot in place, as no job would."""
    path = list_parts(settings.lakehouse, TV)[-1].path
    pq.write_table(change(pq.ParquetFile(path).read()), path)


def waive(settings: Project, check: str, expires: str = "2021-04-30") -> None:
    folder = settings.feast_repository / "waivers"
    folder.mkdir(exist_ok=True)
    (folder / "known.toml").write_text(
        f'owner = "A"\nreason = "B"\nexpires = {expires}\nwaives = ["{check}"]\n'
    )


def test_the_samples_rows_may_be_promoted(settings: Project):
    result = validate(settings)
    demand_all(result)
    assert result.passed
    assert {(each.group, each.check) for each in result.findings} == {
        (TV.name, "quality"),
        (TV.name, "coverage"),
        (LOCAL_1D.name, "quality"),
    }
    document = receipt(settings)
    assert document["verdict"] == "promote"
    assert [each["accepted"] for each in document["quality"]] == [60, 60]
    unit = [each for each in document["skipped"] if each["check"] == "RSI unit"]
    assert unit == [{"group": TV.name, "check": "RSI unit", "reason": "0 values, judged from 50"}]
    figures = {each["check"]: each["value"] for each in document["quality"][1]["figures"]}
    assert 0.9 < figures["RSI unit"] < 1.1
    assert document["job"] == "validate"
    assert document["run_id"] == result.run_id


def test_a_row_that_breaks_a_rule_stops_promotion(settings: Project):
    def spoil(rows: pa.Table) -> pa.Table:
        values = rows["RSI"].to_pylist()
        return rows.set_column(
            rows.column_names.index("RSI"), "RSI", pa.array([140.0, *values[1:]], pa.float64())
        )

    rewrite(settings, spoil)
    result = validate(settings)
    with pytest.raises(GateRefused, match="RSI bounds") as refused:
        demand_all(result)
    assert str(result.receipt) in str(refused.value)
    (fault,) = result.faults
    assert (fault.group, fault.check) == (TV.name, "RSI bounds")
    assert "is not what run" in result.judged[TV.name]
    assert receipt(settings)["verdict"] == "refuse"
    waive(settings, f"{TV.name}: RSI bounds")
    again = validate(settings)
    assert again.passed
    assert [(each.check, each.waived_by) for each in again.waived] == [("RSI bounds", "known.toml")]


def of_snapshot(settings: Project) -> Path:
    """The receipt of the snapshot."""
    (path,) = (settings.lakehouse_at / "_runs").glob("*/feature_ingest.tv_technicals_1d.json")
    return path


def write_again(settings: Project, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the snapshot's receipt and the ledger with it."""
    path = of_snapshot(settings)
    document = json.loads(path.read_bytes())
    change(document)
    content = json.dumps(document).encode()
    write_run_file(settings.lakehouse, path.parent.name, path.name, content)


def test_the_gates_verdict_is_not_given_twice(settings: Project):
    result = validate(settings)
    assert {by.partition(",")[0] for by in result.judged.values()} == {"by the gate"}
    said = json.loads(of_snapshot(settings).read_bytes())["quality"]
    assert receipt(settings)["quality"][0] == said
    (finding,) = [f for f in result.findings if (f.group, f.check) == (TV.name, "quality")]
    assert finding.detail == "60 rows passed the gate"


def test_great_expectations_is_not_imported_where_the_gate_has_judged(settings: Project):
    script = (
        "import sys; from ingestion.jobs.audit.validate import validate\n"
        "from ingestion.project import Project\n"
        "assert validate(Project.from_environment()).passed\n"
        "sys.exit('great_expectations' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_merged_rows_have_the_verdicts_of_their_runs(settings: Project, at):
    """A second snapshot of the day, and the parts become one."""
    (first,) = list_parts(settings.lakehouse, TV)
    rows = read_file(first)
    at(MONDAY + timedelta(hours=4))
    append_part(settings.lakehouse, TV, later(rows, timedelta(hours=1)), "another-run")
    assert "no receipt of run another-run" in validate(settings).judged[TV.name]
    at(MONDAY + timedelta(days=1))
    compact(settings, MONDAY.date() + timedelta(days=1))
    assert "no receipt of run another-run" in validate(settings).judged[TV.name]
    assert "by the gate" in validate(settings).judged[LOCAL_1D.name]


def later(rows: pa.Table, by: timedelta) -> pa.Table:
    """The same values in a snapshot of later."""
    seconds = int(by.total_seconds())
    for name in ("timestamp", "event_timestamp", "created_timestamp"):
        step = pa.scalar(seconds if name == "timestamp" else by)
        index = rows.schema.get_field_index(name)
        rows = rows.set_column(index, rows.schema.field(index), pc.add(rows[name], step))
    return rows


GONE = "has the gate's verdict"
CASES: dict[str, tuple[Callable[[Project], object], str]] = {
    "gone": (lambda settings: of_snapshot(settings).unlink(), GONE),
    "cut short": (lambda settings: of_snapshot(settings).write_bytes(b'{"run'), "cannot be read"),
    "edited": (
        lambda settings: of_snapshot(settings).write_bytes(
            of_snapshot(settings).read_bytes().replace(b"publish", b"Publish")
        ),
        "is not what run",
    ),
    "of an older version": (
        lambda settings: write_again(settings, lambda receipt: receipt.pop("quality")),
        GONE,
    ),
    "of another part": (
        lambda settings: write_again(settings, lambda receipt: receipt["parts"].clear()),
        GONE,
    ),
    "by another catalog": (
        lambda settings: write_again(settings, lambda receipt: receipt.update(catalog_sha256="0")),
        "the catalog has changed",
    ),
    "of another form": (
        lambda settings: write_again(settings, lambda receipt: receipt.update(quality={})),
        "cannot be read",
    ),
    "imported": (
        lambda settings: rewrite(settings, lambda rows: rows.replace_schema_metadata()),
        "does not say which run wrote it",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_without_a_verdict_that_counts_the_rows_are_judged_and_the_text_says_why(
    settings: Project, case: str
):
    change, why = CASES[case]
    change(settings)
    result = validate(settings)
    assert why in result.judged[TV.name]
    assert result.judged[TV.name].startswith("now: ")
    assert f"{TV.name}: judged now: " in validate_text(result)
    assert result.judged[LOCAL_1D.name].startswith("by the gate")
    quality = [f for f in result.findings if (f.group, f.check) == (TV.name, "quality")]
    assert [finding.passed for finding in quality] == [True]


def test_what_a_waiver_let_pass_at_the_gate_is_refused_once_the_waiver_is_gone(settings: Project):
    broken = {"check": "RSI unit", "level": "batch", "rows": 0, "detail": "99, at most 10"}
    broken |= {"symbols": [], "waived": True}
    write_again(settings, lambda receipt: receipt["quality"]["failures"].append(broken))
    (fault,) = validate(settings).faults
    assert fault.told == "RSI unit: 99, at most 10"
    waive(settings, f"{TV.name}: RSI unit")
    assert validate(settings).passed


def test_rows_that_are_gone_show_in_the_coverage(settings: Project):
    rewrite(settings, lambda rows: rows.slice(4))
    (fault,) = validate(settings).faults
    assert fault.check == "coverage"
    assert fault.detail == "93.3% of 60 symbols, least 95.0%"


def test_old_rows_are_not_promoted(settings: Project, at: Callable[[datetime], None]):
    at(MONDAY + TV.max_age)
    assert validate(settings).passed
    at(MONDAY + TV.max_age + timedelta(seconds=1))
    (fault,) = validate(settings).faults
    assert (fault.group, fault.check) == (TV.name, "age hours")


def test_each_group_is_judged_by_itself(settings: Project, at: Callable[[datetime], None]):
    at(MONDAY + TV.max_age + timedelta(seconds=1))
    result = validate(settings)
    assert result.promoted == (LOCAL_1D.name,)
    assert {name: [each.check for each in faults] for name, faults in result.refused.items()} == {
        TV.name: ["age hours"]
    }
    groups = receipt(settings)["groups"]
    assert {name: told["verdict"] for name, told in groups.items()} == {
        TV.name: "refuse",
        LOCAL_1D.name: "promote",
    }
    assert [told[:10] for told in groups[TV.name]["reasons"]] == ["age hours:"]


def test_rows_are_as_old_as_a_closed_market_makes_them(
    settings: Project, at: Callable[[datetime], None]
):
    """Lunar New Year closes Shanghai for 11 days, from the last close to the first after it."""
    newest = max(
        event
        for part in list_parts(settings.lakehouse, LOCAL_1D)
        for event in read_file(part, ["event_timestamp"])[0].to_pylist()
    )
    at(newest + timedelta(days=11))
    assert validate(settings).promoted == (LOCAL_1D.name,)
    at(newest + LOCAL_1D.max_age + timedelta(seconds=1))
    assert validate(settings).promoted == ()


def test_what_is_later_than_now_does_not_count(settings: Project, at: Callable[[datetime], None]):
    at(MONDAY - timedelta(days=3))
    result = validate(settings)
    assert result.passed
    assert (TV.name, "quality", "no rows") in [
        (group, each.check, each.reason) for group, each in result.skipped
    ]


def test_a_bad_waiver_is_a_fault_of_its_own_and_keeps_no_group_back(settings: Project):
    waive(settings, f"{TV.name}: RSI unit", expires="2021-04-11")
    result = validate(settings)
    (fault,) = result.faults
    assert (result.passed, result.promoted, result.refused) == (
        False,
        tuple(group.name for group in GROUPS),
        {},
    )
    with pytest.raises(GateRefused, match="may be promoted: tv_technicals_1d, local_1d;"):
        demand_all(result)
    assert fault.group == "waivers"
    assert "expired on 2021-04-11" in fault.detail
    waive(settings, f"{TV.name}: RSI unit", expires="2021-04-12")
    assert validate(settings).passed


class TestParity:
    def compare(self, settings: Project, **figures: Any) -> None:
        column = {"feature": "RSI", "n": 100, "beyond": 0}
        column |= {"rank_correlation": 1.0, "sign_agreement": 1.0} | figures
        content = json.dumps({"run_id": LATER, "columns": [column]}).encode()
        write_run_file(settings.lakehouse, LATER, "parity.json", content)

    @pytest.mark.parametrize(
        ("figures", "told"),
        [
            ({"beyond": 6}, "6.0% beyond"),
            ({"rank_correlation": 0.94}, "rank correlation"),
            ({"sign_agreement": 0.89}, "sign agreement"),
        ],
    )
    def test_served_values_that_are_not_recomputed_ones_stop_it(
        self, settings: Project, figures: dict[str, float], told: str
    ):
        self.compare(settings, **figures)
        (fault,) = validate(settings).faults
        assert fault.check == "RSI parity"
        assert told in fault.detail

    @pytest.mark.parametrize(
        "figures",
        [
            {"beyond": 5, "rank_correlation": 0.95, "sign_agreement": 0.9},
            {"rank_correlation": None},
        ],
    )
    def test_at_the_limits_they_pass(self, settings: Project, figures: dict[str, Any]):
        self.compare(settings, **figures)
        assert validate(settings).passed

    def test_a_few_values_are_not_judged(self, settings: Project):
        self.compare(settings, n=19, beyond=19)
        result = validate(settings)
        assert result.passed
        assert "RSI parity" in [each.check for _, each in result.skipped]

    def test_a_receipt_that_cannot_be_read_fails(self, settings: Project):
        content = json.dumps({"run_id": LATER, "columns": 3}).encode()
        write_run_file(settings.lakehouse, LATER, "parity.json", content)
        (fault,) = validate(settings).faults
        assert "cannot be read" in fault.detail


def test_a_coverage_receipt_that_cannot_be_read_fails(settings: Project):
    name = "feature_ingest.tv_technicals_1d.json"
    write_run_file(settings.lakehouse, LATER, name, b"{")
    (fault,) = validate(settings).faults
    assert fault.check == "coverage"


def test_rows_without_a_receipt_are_told(settings: Project):
    rows = read_file(list_parts(settings.lakehouse, TV)[-1])
    shutil.rmtree(settings.lakehouse_at / "_runs")
    result = validate(settings)
    assert result.passed
    assert "the newest rows have no receipt" in [each.reason for _, each in result.skipped]
    assert rows.num_rows == 60


def test_an_empty_lakehouse_is_told(settings: Project):
    shutil.rmtree(settings.lakehouse_at)
    with pytest.raises(InputError, match="feature-ingest"):
        validate(settings)


def test_it_takes_the_lock(settings: Project):
    with lakehouse_lock(settings.lakehouse, "other"), pytest.raises(LakehouseLocked):
        validate(settings)


def test_the_command_prints_the_verdict_and_ends_with_3(settings: Project, built: Path):
    waive(settings, "nonsense")
    rewrite(settings, lambda rows: rows.slice(4))
    told = CliRunner().invoke(cli, ["validate"])
    assert isinstance(told.exception, GateRefused)
    assert f"may be promoted: {LOCAL_1D.name}; MAY NOT BE PROMOTED: {TV.name}" in told.output
    assert "'nonsense'" in told.output
    document = json.loads(CliRunner().invoke(cli, ["validate", "--json"]).stdout)
    assert document["passed"] is False
    shutil.copytree(built / "data", settings.folder / "data", dirs_exist_ok=True)
    assert (document["promoted"], [*document["refused"]]) == ([LOCAL_1D.name], [TV.name])
    (settings.feast_repository / "waivers" / "known.toml").unlink()
    told = CliRunner().invoke(cli, ["validate"])
    assert told.exception is None
    assert "may be promoted" in told.output


def test_the_site_shows_the_latest_checks_and_is_built_anew(settings: Project):
    stale = settings.folder / "data" / "docs_gx" / "stale.html"
    stale.parent.mkdir(parents=True)
    stale.touch()
    told = CliRunner().invoke(cli, ["data-docs", "--json"])
    document = json.loads(told.stdout)
    assert [each["accepted"] for each in document["reports"]] == [60, 60]
    index = Path(document["index"])
    assert index == stale.parent / "index.html"
    assert not stale.exists()
    pages = {page.name: page.read_text() for page in index.parent.rglob("*.html")}
    assert "index.html" in pages
    assert any("Recommend.All identity" in page for page in pages.values())
    assert not list((settings.lakehouse_at / "_runs").glob("*/validate.json"))
