"""A week of real bars through the whole flow: the tour of the project, in one process.

A replay scanner on loopback answers from the sample's bars, and ``TVFEAST_NOW`` moves from day to
day, as if the daily job had run each evening. Everything else is what runs against TradingView.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import dropwhile
from pathlib import Path

from ingestion.base import clock
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.compute.parity import parity
from ingestion.jobs.flow import flow_data
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.universe_ingest import universe_ingest
from ingestion.jobs.report.make_report import make_report
from ingestion.jobs.serve.select import Selection, SelectRequest, select
from ingestion.jobs.serve.targets import training_labels
from ingestion.jobs.serve.training_set import TrainingSetRequest, training_set
from ingestion.jobs.workspace import make_workspace
from ingestion.markets.candidates import read_candidates
from ingestion.project import Project
from ingestion.quality.parity import ParityReport
from ingestion.replay import Panel, ReplayScanner

# New York closes at 20:00 UTC in April; the delayed feed has caught up by then.
_FIRST = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)
_DAYS = 8
CANDIDATES = "portfolio_candidates.json"
_GROUPS_FILE = """\
# which groups run beside tv_technicals_1d, local_1d and your own; `tvfeast catalog` lists all
more = ["tv_technicals_1w", "tv_analyst_1d"]
"""
_OTHERS = ("tv_technicals_1w:Recommend.All", "tv_analyst_1d:target_upside")
"""What the selection shows of the other groups."""
_UNIVERSE = "most_traded"
_UNIVERSE_FILE = """\
meaning = "the American shares of the day's largest volume"

[scan]
market = "america"
filter = [{left = "type", operation = "equal", right = "stock"}]
sort = {by = "volume", order = "desc"}
limit = 12
"""
_TARGET = "fwd_return_5d"
_TRAINING = (date(2020, 7, 1), date(2021, 4, 9))
_SETTINGS = ("TVFEAST_PROJECT", "TVFEAST_SCANNER_URL", "TVFEAST_NOW")


@dataclass(frozen=True)
class Tables:
    """How results are laid out for people."""

    parity: Callable[[ParityReport], str]
    selection: Callable[[Selection], str]


def demo(
    folder: Path,
    sample: Path,
    say: Callable[[str], None],
    tables: Tables,
    *,
    lakehouse: str | None = None,
    online_store: Mapping[str, object] | None = None,
) -> None:
    """Build a lakehouse, a Feast repository, a training set and a selection in a folder.

    Parameters
    ----------
    folder
        A workspace to make; see :func:`ingestion.jobs.workspace.make_workspace`.
    sample
        Folder with ``bars.parquet``, ``symbols.csv`` and ``portfolio_candidates.json``.
    say
        Takes each line of the story.
    tables
        Make the tables in it.
    lakehouse
        Where it is instead, as ``TVFEAST_LAKEHOUSE`` says; below the folder if None.
    online_store
        What ``feature_store.yaml`` says of it instead; a file below the folder if None.
    """
    folder = make_workspace(folder)
    if online_store is not None:
        _put_online_store(folder / "feature_repo" / "feature_store.yaml", online_store)
    shutil.copy(sample / CANDIDATES, folder)
    for name in ("groups", "formulas", "universes"):  # for a newcomer's own files
        (folder / "feature_repo" / name).mkdir()
    (folder / "feature_repo" / "universes" / f"{_UNIVERSE}.toml").write_text(_UNIVERSE_FILE)
    (folder / "feature_repo" / "groups.toml").write_text(_GROUPS_FILE)
    before = {name: os.environ.get(name) for name in (*_SETTINGS, "TVFEAST_LAKEHOUSE")}
    os.environ.pop("TVFEAST_LAKEHOUSE", None)
    if lakehouse is not None:
        os.environ["TVFEAST_LAKEHOUSE"] = lakehouse
    os.environ["TVFEAST_PROJECT"] = str(folder)
    try:
        with ReplayScanner(Panel.from_folder(sample)) as scanner:
            project = replace(Project.from_environment(), scanner_url=scanner.url)
            _tour(project, sample, say, tables)
        if lakehouse is None and online_store is None:
            say(_where(project, clock.now()))
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _put_online_store(file: Path, online_store: Mapping[str, object]) -> None:
    """Name another online store; JSON is YAML too."""
    before, _, after = file.read_text().partition("online_store:\n")
    others = [line for line in after.splitlines(keepends=True) if line.strip()]
    rest = dropwhile(lambda line: line.startswith((" ", "#")), others)
    file.write_text(f"{before}online_store: {json.dumps(online_store)}\n{''.join(rest)}")


def _tour(project: Project, sample: Path, say: Callable[[str], None], tables: Tables) -> None:
    candidates = read_candidates(project.folder / CANDIDATES)
    say(
        f"tvfeast demo: {len(candidates.symbols)} candidates, {_DAYS} evenings from "
        f"{_FIRST:%d %B %Y}\n"
        "The scanner is a replay on this machine. No public recording has the technical columns\n"
        "for many symbols, so it computes them from real daily bars by TradingView's formulas,\n"
        "and draws what analysts say from recorded ranges.\n"
    )
    os.environ["TVFEAST_NOW"] = _FIRST.isoformat()
    say(f"  history    {_load_bars(project, sample)}")
    say(f"  scanner    {', '.join(group.name for group in project.catalog.scanned)}")
    for evening in (_FIRST + timedelta(days=day) for day in range(_DAYS)):
        os.environ["TVFEAST_NOW"] = evening.isoformat()
        say(f"  {evening:%a %d %b}  {_evening(project, FeatureIngestRequest(candidates))}")
    say(
        "\nPipeline self-check: what was served against what the bars give. The served values are\n"
        "our own here, so all must agree but Perf.* of the coins: it follows the clock, and the\n"
        "replay serves it as of the bar's close. TradingView's give `tvfeast parity` its meaning.\n"
    )
    say(tables.parity(parity(project).report))
    made = training_labels(project, _TARGET, *_TRAINING)
    out = project.folder / "training_set.parquet"
    service = project.catalog.default_service("target").name
    trained = training_set(project, TrainingSetRequest(made.labels.table, out, service))
    say(
        f"\nTraining set: {trained.rows:,} decisions with {_TARGET} from {_TRAINING[0]} to "
        f"{_TRAINING[1]}, {trained.matched:,} with the\n{len(trained.features)} features of "
        f"{_computed(project)} as they were known at that close, and not later."
    )
    request = SelectRequest(minimum={"ADX": 25}, top=8, features=_OTHERS, closed_only=True)
    say(
        "\nSelection: strongest technical rating of the day among clear trends (ADX ≥ 25), beside\n"
        "the week's rating and the analysts' upside in %\n"
    )
    say(tables.selection(select(project, request)))
    say(
        f"\nSelection among the members of the universe {_UNIVERSE}, as they were on the first "
        "evening\n"
    )
    request = SelectRequest(universe=_UNIVERSE, top=5, as_of=_FIRST)
    say(tables.selection(select(project, request)))
    report = make_report(project)
    say(f"\nReport: {report.answer}\n  {report.path}, for your browser")


def _evening(project: Project, request: FeatureIngestRequest) -> str:
    """Run the daily flow, and return in a line what it did.

    Beside the candidates, the members of a universe are recorded; a flow about a universe does
    both.
    """
    universe = project.catalog.universe(_UNIVERSE)
    asked = universe_ingest(project, universe) if universe else None
    flow = flow_data(project, request)
    if flow.error:
        raise flow.error
    bars, local = flow["data-ingest"].result, flow["local-features"].result
    fetched = " + ".join(str(step.result.report.fetched) for step in flow.steps if step.group)
    return (
        f"{bars.bars.written:2} closed bars, {fetched} snapshot rows, "
        f"{local.rows_written:2} {_computed(project)} rows → checked → online → verified"
        + (f"; {_UNIVERSE}: {len(asked.joined)} in, {len(asked.left)} out" if asked else "")
    )


def _computed(project: Project) -> str:
    return " and ".join(group.name for group in project.catalog.computed)


def _load_bars(project: Project, sample: Path) -> str:
    imported = import_bars(project, ImportRequest((sample / "bars.parquet",)))
    computed = local_features(project)
    return (
        f"{imported.written:,} closed bars imported → ohlcv_1d, {computed.rows_written:,} rows of "
        f"{len(project.catalog.computed[0].features)} features → {_computed(project)}"
    )


def _where(project: Project, now: datetime) -> str:
    folder, tomorrow = project.folder, now + timedelta(days=1)
    candidates = shlex.quote(str(folder / CANDIDATES))
    scripts = shlex.quote(sysconfig.get_path("scripts"))
    path = "" if shutil.which("tvfeast") else f" PATH={scripts}:$PATH"
    return f"""
Built in {folder}:
  {CANDIDATES}   whom it is about    feature_repo/groups    your groups
  data/lakehouse         Parquet parts by date      feature_repo/formulas  your formulas
  training_set.parquet   labels and features        feature_repo/universes your universes
                                                    data/registry.db       what Feast knows
  data/report.html       what to look at first      data/online.db         what is served now

Go on from there:
  export TVFEAST_PROJECT={shlex.quote(str(folder))} TVFEAST_NOW={now:%Y-%m-%dT%H:%MZ}{path}
  tvfeast select --by RSI --ascending --top 5
  tvfeast select --as-of {now - timedelta(days=4):%Y-%m-%dT%H:%MZ} --min ADX=25
  tvfeast select --as-of 2021-03-05T22:00Z --by momentum_60d
  tvfeast select --by tv_technicals_1w:RSI --min Recommend.All=0.1 --top 5
  tvfeast select --by target_upside --min tv_technicals_1d:Recommend.All=0.3 --top 5
  tvfeast select --universe {_UNIVERSE} --feature tv_analyst_1d:recommendation_mark
  tvfeast universe show {_UNIVERSE}
  tvfeast explain NASDAQ:AAPL RSI
  tvfeast status

… or with the sample's last evening, after you added a group or a formula, say (CONTRIBUTING.md):
  export TVFEAST_NOW={tomorrow:%Y-%m-%dT%H:%MZ} TVFEAST_SCANNER_URL=http://127.0.0.1:8787
  tvfeast replay-scanner &
  tvfeast flow-data --candidates {candidates}
  tvfeast select --top 5
  kill %1"""
