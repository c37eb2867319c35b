"""The daily flow: each job in turn, as one run, in one process, so that Feast is imported once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache, partial
from typing import ClassVar

from ingestion.base import clock
from ingestion.base.errors import (
    GateRefused,
    InputError,
    NothingFetched,
    StepDone,
    TvfeastError,
)
from ingestion.base.wording import counted, some_of
from ingestion.catalog import OHLCV_1D, FeatureGroup, Universe
from ingestion.jobs.audit.status import status
from ingestion.jobs.audit.validate import WAIVERS, ValidateResult, validate
from ingestion.jobs.compute.cross_sections import cross_sections
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.ingest.daily_bars import DailyRequest, DailyResult, fetch_daily
from ingestion.jobs.ingest.data_ingest import BARS, data_ingest
from ingestion.jobs.ingest.feature_ingest import (
    FeatureIngestRequest,
    FeatureIngestResult,
    feature_ingest,
    needed_of,
    scanned_group,
    tables_of,
)
from ingestion.jobs.ingest.meta_ingest import METADATA, meta_ingest
from ingestion.jobs.ingest.needed import Needed, NotDue
from ingestion.jobs.ingest.scan import Scans
from ingestion.jobs.ingest.universe_ingest import (
    UniverseIngestResult,
    members_in,
    universe_ingest,
)
from ingestion.jobs.profiles import FLOW_FILE as RECEIPT_FILE
from ingestion.jobs.profiles import known_profiles, with_run
from ingestion.jobs.serve.feast_repository import check_registry, import_feast
from ingestion.jobs.serve.loads import promoted_in
from ingestion.jobs.serve.materialize import MaterializeResult, materialize
from ingestion.jobs.serve.verify_online import OnlineReport, verify_online
from ingestion.jobs.steps import NothingToDo, Status, Step, StepOutcome, run_in_turn, taken_since
from ingestion.lakehouse import RunFile, newest_part
from ingestion.project import Project
from ingestion.quality.engine import import_great_expectations
from ingestion.runs.run import Outcome, Run, outcome_of


@dataclass(frozen=True)
class Published:
    """Rows of one dataset that a flow has added."""

    dataset: str
    rows: int
    """To the lakehouse."""
    online: int
    """To the online store; 0 for what is not served."""

    def __str__(self) -> str:
        online = f", {self.online:,} online" if self.online else ""
        return f"{self.dataset} ({counted(self.rows, 'row')}{online})"


@dataclass(frozen=True)
class Refused:
    """What a flow has not published."""

    step: str
    group: str | None
    """The feature group that is not promoted; None where it is not about one."""
    reason: str

    def __str__(self) -> str:
        return f"{self.group or self.step}: {self.reason}"


@dataclass(frozen=True)
class FlowResult:
    """What each step of the flow did."""

    SHOWN: ClassVar = ("verdict",)

    run_id: str
    profile: str
    """The name under which ``status`` knows it."""
    steps: tuple[StepOutcome, ...]
    published: tuple[Published, ...]
    """What is new, in the lakehouse or online."""
    refused: tuple[Refused, ...]
    """What was refused, or failed."""
    receipt: RunFile
    error: TvfeastError | None = field(repr=False)
    """Its exit code is 3 if something was published all the same, else the first failure's."""

    @property
    def verdict(self) -> Outcome:
        """Whether all was done, something was refused, or the flow failed."""
        return outcome_of(self.error)

    def __getitem__(self, name: str) -> StepOutcome:
        """Return a step's outcome."""
        return next(step for step in self.steps if step.name == name)


def flow_data(
    project: Project,
    request: FeatureIngestRequest,
    *,
    profile: str | None = None,
    every: timedelta | None = None,
    universe: Universe | None = None,
    groups: Sequence[str] | None = None,
) -> FlowResult:
    """Run the chain; a step that fails stops those that need it, and no other.

    A repeated flow picks up where this one stopped: each job adds only what is not there yet. The
    receipt is written before the first step and after each, so that the receipt of a killed flow
    shows how far it came.

    Parameters
    ----------
    profile
        Under which name ``status`` knows this flow; that of its candidates or market if None.
    every
        How often it is to start; what its last starts show if None. The resume window is then at
        most three quarters of it.
    universe
        Whose members the flow is about, in place of the source of the request: they are asked for
        first, and recorded.
    groups
        The groups of the scanner that it asks for, where they are due; all if None.

    Raises
    ------
    LakehouseLocked
        If another run is writing.
    StepDone
        If the project names a run in parts that is a flow, and is done. One that is not done goes
        on with the steps that are not.
    FeastRepositoryError
        If the registry describes other definitions or another lakehouse; nothing is published.
    InputError
        If the scanner is not where a group's rows come from, or there is no such group.
    """
    if every is not None:
        request = replace(request, resume_window=min(request.resume_window, every * 3 / 4))
    asked = _asked(project, groups)
    name, started = profile or request.source.profile, clock.now()
    with Run.open(project, "flow-data", request, file=RECEIPT_FILE) as run:
        chain, scans = _chain(project, request, asked, run, name, universe)
        steps = [StepOutcome(step.name, Status.NOT_RUN, step.group) for step in chain]
        profiles = with_run(known_profiles(project.lakehouse), name, run.id)
        names = [group.name for group in asked]
        run.tell(profile=name, every=every, profiles=profiles, groups=names)
        _tell(run, steps)
        run.write()
        check_registry(project)  # before anything is published
        failures: list[TvfeastError] = []
        for number, (step, failure) in enumerate(run_in_turn(chain)):
            steps[number] = step
            failures += [failure] if failure else []
            if isinstance(step.result, FeatureIngestResult) and step.result.part and step.group:
                profiles[name] = profiles[name].fetched(started, step.group)
                run.tell(profiles=profiles)
            _tell(run, steps)
            run.write()
        answered = scans().answered
        run.tell(after_last_answer=taken_since(answered) if answered else None)
        published, refused = _published(run, steps), _refused(steps)
        error = _error(failures, published, run.receipt)
        if error:
            run.fail(error)
    return FlowResult(run.id, name, tuple(steps), published, refused, run.receipt, error)


def _tell(run: Run, steps: Sequence[StepOutcome]) -> None:
    run.tell(
        published=_published(run, steps),
        refused=_refused(steps),
        steps=[_told(each) for each in steps],
    )


def _published(run: Run, steps: Sequence[StepOutcome]) -> tuple[Published, ...]:
    """Return what is new by the run's ledger and by its load."""
    stored = run.published()
    loads = next((step.result.loads for step in steps if _is_load(step)), ())
    # Feast's own engines do not count what changed.
    online = {each.view: each.rows or 0 if each.changed is None else each.changed for each in loads}
    served = {view: rows for view, rows in online.items() if rows}
    return tuple(
        Published(name, stored.get(name, 0), served.get(name, 0))
        for name in dict.fromkeys([*stored, *served])
    )


def _is_load(step: StepOutcome) -> bool:
    return isinstance(step.result, MaterializeResult)


def _refused(steps: Sequence[StepOutcome]) -> tuple[Refused, ...]:
    refused: list[Refused] = []
    for step in steps:
        if isinstance(step.result, ValidateResult):
            refused += [
                Refused(step.name, None if each.group == WAIVERS else each.group, each.told)
                for each in step.result.faults
            ]
        elif step.status in (Status.REFUSED, Status.FAILED):
            refused.append(Refused(step.name, None, step.reason))
    return tuple(refused)


def _error(
    failures: Sequence[TvfeastError], published: Sequence[Published], receipt: RunFile
) -> TvfeastError | None:
    """Return what the flow ends with: the first failure, and what was published all the same."""
    if not failures:
        return None
    first = failures[0]
    kinds = {kind.exit_code: kind for kind in (InputError, GateRefused, NothingFetched)}
    kind = GateRefused if published else kinds.get(first.exit_code, TvfeastError)
    news = f"published: {', '.join(map(str, published))}" if published else "published nothing new"
    return kind(f"{news}; {some_of(failures)}; {receipt} says what became of each step")


def _asked(project: Project, names: Sequence[str] | None) -> tuple[FeatureGroup, ...]:
    """Return the groups of the scanner that a flow asks for, in the catalog's order."""
    chosen = None if names is None else {scanned_group(project, name).name for name in names}
    return tuple(
        group for group in project.catalog.scanned if chosen is None or group.name in chosen
    )


def _ingest_step(project: Project, group: FeatureGroup) -> str:
    """Return the name of the step that fetches a group."""
    is_pulse = group == project.catalog.pulse
    return "feature-ingest" if is_pulse else f"feature-ingest {group.name}"


def _chain(
    project: Project,
    request: FeatureIngestRequest,
    groups: Sequence[FeatureGroup],
    run: Run,
    profile: str,
    universe: Universe | None,
) -> tuple[tuple[Step, ...], Callable[[], Scans]]:
    asked, min_coverage, daily = request, request.min_coverage, project.catalog.daily

    @cache
    def needed(group: FeatureGroup) -> Needed:
        return needed_of(project, asked, group)

    @cache
    def scans() -> Scans:
        tables = [BARS, METADATA]
        for group in groups:
            tables += tables_of(project, asked, group, needed(group))
        return Scans(project, asked, tables, _import_libraries)

    def members(universe: Universe) -> UniverseIngestResult:
        nonlocal asked
        try:
            result = universe_ingest(project, universe, request.scanner, run)
            asked = replace(request, source=result.candidates)
            return result
        except StepDone:
            asked = replace(request, source=members_in(project, universe, run.id))
            raise
        finally:
            run.tell(request=asked)

    def snapshot(group: FeatureGroup) -> FeatureIngestResult:
        of_group = replace(asked, group=group.name)
        try:
            return feature_ingest(project, of_group, run, scans(), needed(group))
        except NotDue as why:
            raise NothingToDo(str(why)) from None

    def fetch(name: str) -> DailyResult:
        named = asked.source.symbols
        among = scans().table(BARS.name).snapshot.rows if named is None else named
        symbols = daily.symbols(name, among)
        if not symbols:
            raise NothingToDo("it has none of these symbols")
        return fetch_daily(project, DailyRequest(name, asked.source, symbols, min_coverage), run)

    def compute() -> object:
        if newest_part(project.lakehouse, OHLCV_1D) is None:
            raise NothingToDo("no bars yet; `tvfeast import-bars` loads history")
        return local_features(project, run)

    promoted: list[FeatureGroup] = []

    def gate() -> ValidateResult:
        try:
            verdict = validate(project, run)
        except StepDone:
            promoted.extend(promoted_in(project, run.id) or ())
            raise
        promoted.extend(group for group in project.catalog.groups if group.name in verdict.promoted)
        return verdict

    def load() -> MaterializeResult:
        if not promoted:
            raise NothingToDo("no group is promoted")
        return materialize(project, run, promoted)

    def compare() -> OnlineReport:
        if not promoted:
            raise NothingToDo("nothing was loaded")
        return verify_online(project)

    # What a scan does not bring is missing, and what is stored is as right as before. So no later
    # step needs it; the gate decides what is too old to be served.
    first = universe and Step("universe", None, (), partial(members, universe))
    needs = (first.name,) if first else ()
    chain = (
        *([first] if first else ()),
        Step(
            "data-ingest",
            None,
            needs,
            lambda: data_ingest(project, asked, run, scans()),
        ),
        Step(
            "meta-ingest",
            None,
            needs,
            lambda: meta_ingest(project, asked, run, scans()),
        ),
        *(
            Step(_ingest_step(project, group), group.name, needs, partial(snapshot, group))
            for group in groups
        ),
        *(
            Step(f"daily-bars {name}", None, needs, partial(fetch, name))
            for name in daily.names
            # Of a universe's members, and of a market, nobody knows yet who they are.
            if universe
            or daily.symbols(name, asked.source.symbols or [])
            or asked.source.symbols is None
        ),
        Step("local-features", None, (), compute),
        *(
            [Step("cross-sections", None, (), lambda: cross_sections(project, run))]
            if project.catalog.cross_sections
            else []
        ),
        Step("validate", None, (), gate),
        Step("materialize", None, ("validate",), load),
        Step("verify --online", None, ("materialize",), compare),
        Step("status", None, (), lambda: status(project, profile=profile)),
    )
    return chain, scans


def _import_libraries(waits: Callable[[], bool]) -> None:
    """Import what takes seconds, before it is needed; who needs it meets the same errors again.

    Feast is needed by each flow. Great Expectations is only where a row may break a rule, so
    nobody waits for it here.
    """
    for load in (import_feast, import_great_expectations):
        with contextlib.suppress(Exception):
            if waits():
                load()


def _told(step: StepOutcome) -> dict[str, object]:
    return {
        "step": step.name,
        "group": step.group,
        "status": step.status,
        "reason": step.reason,
        "duration_s": step.duration_s,
        "cpu_s": step.cpu_s,
        "peak_memory_mb": step.peak_memory_mb,
    }
