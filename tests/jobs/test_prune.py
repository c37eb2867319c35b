"""``prune`` removes runs that nobody needs: every answer is the same afterwards."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from ingestion.base.errors import InputError, LakehouseLocked, TvfeastError
from ingestion.base.plain import plain
from ingestion.cli.upkeep import prune_text
from ingestion.jobs.audit.cache_check import CachesChecked
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.audit.prune import not_needed, prune
from ingestion.jobs.audit.status import status
from ingestion.jobs.audit.validate import newest_of_groups, validate
from ingestion.jobs.audit.verify_lakehouse import accept_losses, check_lakehouse
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.ingest.data_ingest import data_ingest
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.missing_sessions import known_holes, markets_asked_for
from ingestion.jobs.ingest.scan import ScanRequest
from ingestion.jobs.ingest.unfinished_imports import half_imports
from ingestion.jobs.profiles import FLOW_FILE, forget_profiles, known_profiles, with_run
from ingestion.jobs.serve.loads import last_loads, unpromoted
from ingestion.lakehouse import append_part, lakehouse_lock, open_lakehouse, run_ids
from ingestion.lakehouse.run_files import remove_runs
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.quality import promotion
from ingestion.quality.promotion import NoVerdict, gate_verdicts
from ingestion.runs.run import Run, new_run_id
from tests.conftest import MONDAY, QUICK, SAMPLE
from tests.declared import LOCAL_1D
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.faults.strikes import AtTouch
from tests.fuzzing import fuzz, sized
from tests.lakehouse.technicals import technicals
from tests.processes import KILLED, Command, Forge, project_of
from tests.tally import kills

DAY, NONE = timedelta(days=1), timedelta(0)
SYMBOLS = ("NASDAQ:AAPL", "NASDAQ:MSFT", "NYSE:JPM", "XETR:SAP")
UNKNOWN = "NASDAQ:NOSUCH"
Clock = Callable[[datetime], None]


class History:
    """Does to a lakehouse what people and their crontabs do, one evening after the other."""

    def __init__(self, project: Project, folder: Path, at: Clock, chance: random.Random) -> None:
        self.project, self.chance, self._at = project, chance, at
        self._folder, self.now, self._files = folder, MONDAY, 0

    def do(self, name: str) -> None:
        self._at(self.now)
        with suppress(TvfeastError):  # it has left its receipt
            getattr(self, name)()

    def an_evening_passes(self) -> None:
        self.now += DAY

    def scan(self, *symbols: str, least: float = 0.5) -> None:
        source = Candidates(self.chance.choice(["asia.json", "some.json"]), symbols, (), 0)
        request = FeatureIngestRequest(source, scanner=QUICK, min_coverage=least)
        feature_ingest(self.project, request)

    def snapshot(self) -> None:
        self.scan(*self.chance.sample(SYMBOLS, 3))

    def refused_snapshot(self) -> None:
        self.scan(*SYMBOLS, UNKNOWN, least=1.0)

    def daily_bars(self) -> None:
        source = Candidates(self.chance.choice(["asia.json", "some.json"]), SYMBOLS, (), 0)
        data_ingest(self.project, ScanRequest(source, scanner=QUICK))

    def history_of_bars(self) -> None:
        bars = pq.read_table(SAMPLE / "bars.parquet")
        since = pc.field("timestamp") > MONDAY.timestamp() - 40 * 86_400
        of_symbols = pc.field("symbol").isin(SYMBOLS)
        pq.write_table(bars.filter(since & of_symbols), self._folder / "sample.parquet")
        import_bars(self.project, ImportRequest((self._folder / "sample.parquet",)))

    def refused_import(self) -> None:
        (self._folder / "bad.csv").write_text("date,symbol\nno date,NASDAQ:AAPL\n")
        import_bars(self.project, ImportRequest((self._folder / "bad.csv",)))

    def import_killed_at_its_first_part(self) -> None:
        self.killed_import(with_part=False)

    def killed_import(self, *, with_part: bool = True) -> None:
        path = self._folder / self.chance.choice(["sample.parquet", "other.csv"])
        with lakehouse_lock(self.project.lakehouse, run_id := new_run_id()):
            request = ImportRequest((path,))
            run = Run(self.project, run_id, "import-bars", request, file="import_bars.json")
            run.tell(verdict="writing")
            if with_part:
                append_part(self.project.lakehouse, GROUP, technicals(["A:A"], self.now), run_id)
            run.write()

    def local_features(self) -> None:
        local_features(self.project)

    def validate(self) -> None:
        validate(self.project)

    def compact(self) -> None:
        compact(self.project)

    def flow(self) -> None:
        """Leave a flow's receipt, that of a load, and perhaps no snapshot."""
        name = self.chance.choice(["asia", "america"])
        groups = self.chance.choice([[GROUP], [GROUP, LOCAL_1D]])
        source = Candidates(f"{name}.json", SYMBOLS, (), 0)
        root = self.project.lakehouse
        with Run.open(self.project, "flow-data", {"source": source}, file=FLOW_FILE) as run:
            with run.child("materialize", file="materialize.json") as load:
                views = [{"view": group.name, "rows": 1, "parts": []} for group in groups]
                load.tell(until=self.now, views=views)
            profiles = with_run(known_profiles(root), name, run.id)
            if self.chance.random() < 0.5:
                append_part(root, GROUP, technicals(["A:A"], self.now), run.id)
                profiles |= {name: profiles[name].fetched(self.now)}
            steps = [{"step": "materialize", "status": "done", "reason": ""}]
            run.tell(profile=name, every=None, profiles=profiles, steps=steps)

    def forget(self) -> None:
        forget_profiles(self.project, ("asia",))

    def loss(self) -> None:
        if parts := sorted(self.project.lakehouse_at.glob(f"{GROUP.storage}/*/part-*.parquet")):
            parts[0].unlink()
            if self.chance.random() < 0.5:
                accept_losses(self.project, [str(parts[0])], "a trial")

    def lost_receipt(self) -> None:
        run_id = self.chance.choice(run_ids(self.project.lakehouse) or ["none"])
        for path in self.project.lakehouse_at.glob(f"_runs/{run_id}/*.json"):
            path.unlink()


OFTEN = ["snapshot", "daily_bars", "flow", "validate", "local_features", "an_evening_passes"]
SELDOM = [
    *("refused_snapshot", "history_of_bars", "refused_import", "killed_import", "compact"),
    *("import_killed_at_its_first_part", "forget", "loss", "lost_receipt"),
]


def answers(project: Project, at: datetime) -> dict[str, Any]:
    """All that anybody is told of a lakehouse by what its runs have left."""
    root, groups = project.lakehouse, project.catalog.groups
    said: dict[str, Any] = {}

    def ask(name: str, question: Callable[[], object]) -> None:
        try:
            said[name] = plain(question())
        except (TvfeastError, NoVerdict) as error:
            said[name] = str(error)

    ask("status", lambda: status(project))
    report = check_lakehouse(project)
    said["verify"] = plain(replace(report, receipts=0, runs=0, unread=0, caches=CachesChecked()))
    for symbol in (*SYMBOLS, "A:A"):
        for day in range(4):
            request = ExplainRequest(symbol, "RSI", at - day * DAY, online=False)
            ask(f"explain {symbol} {day}", lambda request=request: explain(project, request))
    ask("loads", lambda: last_loads(project))
    ask("parts of loads", lambda: {n: each.parts for n, each in last_loads(project).items()})
    ask("unpromoted", lambda: unpromoted(project, last_loads(project)))
    ask("holes", lambda: known_holes(root).document())
    ask("profiles", lambda: known_profiles(root))
    ask("imports", lambda: half_imports(root))
    markets = frozenset({"NASDAQ", "NYSE", "XETR"})
    ask("asked for", lambda: markets_asked_for(root, markets, at - 90 * DAY))
    try:
        newest = newest_of_groups(project, at)
    except InputError:
        return said
    for group in groups:
        rows = newest[group]
        ask(f"gate {group.name}", lambda g=group, r=rows: gate_verdicts(project, g, r.parts))
        if rows.rows.num_rows:
            ask(f"coverage {group.name}", lambda g=group, r=rows: _judged(root, g, r.rows, at))
        ask(f"parity {group.name}", lambda g=group: list(promotion.parity(root, g)))
    return said


def _judged(root: Path, group, rows, at: datetime) -> object:
    return promotion.coverage(open_lakehouse(root), group, rows, at)


@fuzz(
    cases=3,
    seed=st.integers(0, 10**6),
    jobs=st.lists(st.sampled_from(OFTEN * 2 + SELDOM), min_size=6, max_size=14),
    cut=st.floats(0, 1),
)
def test_every_answer_is_the_same_after_any_prune(
    settings: Project, tmp_path: Path, at: Clock, no_power_cuts: None, seed, jobs, cut
):
    shutil.rmtree(settings.lakehouse_at, ignore_errors=True)
    history = History(settings, tmp_path, at, random.Random(seed))
    for job in ["history_of_bars", "snapshot", "flow", *jobs]:
        history.do(job)
    at(history.now)
    before = answers(settings, history.now)
    runs = run_ids(settings.lakehouse)
    before_run = sorted(runs)[int(cut * (len(runs) - 1))] if cut < 0.5 else "9"
    gone, kept = not_needed(settings, before_run)
    assert {*gone, *kept} == {run for run in runs if run < before_run}
    with lakehouse_lock(settings.lakehouse, new_run_id()):
        remove_runs(settings.lakehouse, gone)
    assert answers(settings, history.now) == before
    with settings.lakehouse.looking():
        assert not_needed(settings, before_run) == ((), kept)


@pytest.fixture
def used(settings: Project, tmp_path: Path, at: Clock, no_power_cuts: None) -> Project:
    """Bars, a snapshot, and a validation that a newer one replaces."""
    history = History(settings, tmp_path, at, random.Random(0))
    for job in ("history_of_bars", "snapshot", "validate", "local_features", "validate"):
        history.do(job)
    return settings


def left(project: Project) -> list[str]:
    with project.lakehouse.looking():  # a server may list a folder whose files are gone
        return sorted(run_ids(project.lakehouse))


def test_a_run_whose_receipts_newer_ones_replace_goes_and_no_other(used: Project):
    runs = left(used)
    result = prune(used, NONE)
    assert result.retired == (runs[2],)
    assert left(used) == [*runs[:2], *runs[3:], result.run_id]
    assert result.kept == {
        **dict.fromkeys([runs[0], runs[1], runs[3]], "it has written parts"),
        runs[4]: "it has the newest receipt of its kind: validate.json",
    }
    receipt = json.loads((used.lakehouse_at / f"_runs/{result.run_id}/prune.json").read_bytes())
    assert (receipt["outcome"], receipt["retired"]) == ("done", [runs[2]])
    assert not (used.lakehouse_at / "_tmp").exists() or not any(
        (used.lakehouse_at / "_tmp").iterdir()
    )


def test_younger_runs_stay_and_a_plan_changes_nothing(used: Project):
    runs = left(used)
    assert prune(used).retired == prune(used, 90 * DAY, plan=True).retired == ()
    plan = prune(used, NONE, plan=True)
    assert (plan.run_id, plan.retired) == (None, (runs[2],))
    assert left(used)[:5] == runs
    text = prune_text(plan)
    assert f"1 run from before {plan.before:%Y-%m-%d %H:%M} UTC would go\n  {runs[2]}" in text
    assert "  3 stay: it has written parts" in text
    assert plain(plan)["reasons"] == {
        "it has written parts": 3,
        "it has the newest receipt of its kind: validate.json": 1,
        "it has the newest receipt of its kind: prune.json": 1,
    }


def test_a_plan_waits_for_nobody_and_a_prune_gives_up_at_once(used: Project):
    with lakehouse_lock(used.lakehouse, "another"):
        assert len(prune(used, NONE, plan=True).retired) == 1
        with pytest.raises(LakehouseLocked):
            prune(used, NONE)


@pytest.mark.parametrize("fault", ["changed", "gone", "foreign", "ledger"])
def test_a_folder_with_a_fault_stays(used: Project, fault: str):
    folder = used.lakehouse_at / "_runs" / left(used)[2]
    receipt = folder / "validate.json"
    if fault == "changed":
        receipt.write_bytes(receipt.read_bytes() + b" ")
    elif fault == "gone":
        receipt.unlink()
    elif fault == "foreign":
        (folder / "notes.txt").write_text("mine")
    else:
        (folder / "files.jsonl").unlink()
    before = check_lakehouse(used)
    assert not before.passed
    result = prune(used, NONE)
    assert (result.retired, folder.is_dir()) == ((), True)
    assert check_lakehouse(used).faults == before.faults


def test_the_last_load_of_each_group_and_of_each_project_stays(settings: Project, tmp_path: Path):
    def loaded(project: Project, *groups) -> str:
        with Run.open(project, "materialize", file="materialize.json") as run:
            views = [{"view": group.name, "rows": 1, "parts": []} for group in groups]
            run.tell(until=MONDAY, views=views)
        return run.id

    other = replace(settings, folder=tmp_path / "other")
    runs = [
        loaded(settings, LOCAL_1D, GROUP),
        loaded(other, GROUP),
        loaded(settings, GROUP),
        loaded(settings, GROUP),
    ]
    assert prune(settings, NONE).retired == (runs[2],)
    assert last_loads(settings).keys() == {GROUP.name, LOCAL_1D.name}


def test_a_rows_first_run_stays_through_any_number_of_merges(
    settings: Project, at: Clock, no_power_cuts: None
):
    root = settings.lakehouse
    writers = []
    for hour in range(4):
        late = MONDAY + timedelta(hours=hour)
        at(MONDAY + 2 * DAY)
        with Run.open(settings, "some-job", file="some_job.json") as run:
            append_part(root, GROUP, technicals(["A:A"], MONDAY, late), run.id)
        writers.append(run.id)
        if hour:
            compact(settings)
    shutil.rmtree(
        settings.lakehouse_at / "_runs" / writers[1]
    )  # not even its ledger says so any more
    before = explain(settings, ExplainRequest("A:A", "RSI", online=False)).stories[0].versions
    assert [each.run_id for each in before] == writers[::-1]
    assert prune(settings, NONE).retired == ()
    assert (
        explain(settings, ExplainRequest("A:A", "RSI", online=False)).stories[0].versions == before
    )


def test_a_killed_prune_leaves_each_run_whole_and_the_next_one_completes_it(
    used: Project, tmp_path: Path, forge: Forge
):
    for _ in range(4):
        validate(used)
    untouched = used.lakehouse_at.with_name("untouched")
    shutil.copytree(used.lakehouse_at, untouched)
    contents = {
        run_id: sorted(path.name for path in (untouched / "_runs" / run_id).iterdir())
        for run_id in run_ids(open_lakehouse(untouched))
    }
    going = prune(used, NONE, plan=True).retired
    assert len(going) == 5
    command, variables = Command("prune", "--older-than", "0s"), project_of(used, MONDAY)
    log = tmp_path / "touches"

    def run(kill_before: int | None = None):
        shutil.rmtree(used.lakehouse_at)
        shutil.copytree(untouched, used.lakehouse_at)
        return forge.start(command, variables, AtTouch(log, kill_before)).wait()

    assert run().code == 0
    touches = range(log.stat().st_size)
    half = 0
    # Five folders are moved away one after the other: each fourth touch is between two of them.
    for touch in sized(list(touches[2::4]), list(touches)):
        assert run(touch).code == KILLED
        kills["prune"] += 1
        there = set(run_ids(used.lakehouse))
        half += 0 < len(there & {*going}) < len(going)
        for run_id in there & contents.keys():
            names = sorted(path.name for path in (used.lakehouse_at / "_runs" / run_id).iterdir())
            assert names == contents[run_id]
        assert check_lakehouse(used).faults == []
        again = prune(used, NONE)
        assert not there & {*going} & {*run_ids(used.lakehouse)}
        assert set(contents) - {*going} <= {*run_ids(used.lakehouse)}
        assert [*(used.lakehouse_at / "_tmp").glob("*/*")] == []
        assert again.run_id in run_ids(used.lakehouse)
    assert half


def test_after_a_prune_a_flow_resumes_and_loads_as_before(
    settings: Project, tmp_path: Path, at: Clock, no_power_cuts: None
):
    from ingestion.jobs.flow import flow_data
    from ingestion.jobs.serve.materialize import materialize

    History(settings, tmp_path, at, random.Random(0)).do("history_of_bars")
    served = SYMBOLS[:3]
    request = FeatureIngestRequest(Candidates("some.json", served, (), 0), scanner=QUICK)
    at(MONDAY)
    flow_data(settings, request)
    for _ in range(2):
        validate(settings)
        materialize(settings)
    repeated = flow_data(settings, request)
    assert len(prune(settings, NONE).retired) == 2
    assert [each.new_parts for each in materialize(settings).loads] == [0, 0]
    again = flow_data(settings, request)
    assert again["feature-ingest"].result.report.resumed == len(served)
    assert [step.status for step in again.steps] == [step.status for step in repeated.steps]
    assert plain(again.refused) == plain(repeated.refused)
