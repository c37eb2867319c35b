"""What the flows did: what was stopped and why, how long they took, and what they added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from ingestion.base.clock import parse_instant
from ingestion.base.errors import InputError
from ingestion.base.reading import reading_again
from ingestion.catalog import Catalog, Dataset
from ingestion.jobs.profiles import FLOW_FILE
from ingestion.lakehouse import Lakehouse, Part, list_parts, receipts_of_run, run_ids
from ingestion.lakehouse.ledger import read_ledger
from ingestion.report.contents import Axis, Cell, Kind, Mark, Note, Plot, Row, Section, Table
from ingestion.report.formats import count, counted, instant, seconds, size
from ingestion.runs.receipt_file import NOT_SAID, read_receipt
from ingestion.runs.run import Outcome

_FLOWS = 60
"""How many of the newest flows the timings show."""
_LOOK_AT_ALL = "status"
"""The step of a flow that stops nothing: it looks at the whole operation."""
_RUNS = 800
"""How many of the newest runs are looked into."""
_STOPPED = 25
_POINTS = 120
"""Of a line, about how many dates are drawn."""


@dataclass(frozen=True)
class RunTold:
    """What the receipts of one run say of it."""

    run_id: str
    job: str
    started: datetime
    outcome: str
    error: str
    duration: float
    steps: tuple[tuple[str, str, str, float], ...]
    """Of a flow: name, status, reason and seconds of each step."""
    refused: tuple[tuple[str, str], ...]
    """What was refused, and why."""
    rows: int
    """That it added."""
    parts: tuple[str, ...]


def read_runs(lakehouse: Lakehouse) -> list[RunTold]:
    """Return the newest runs, the oldest first; of each its flow's receipt, or the first one."""
    found = []
    for run_id in islice(run_ids(lakehouse), _RUNS):
        receipts = sorted(
            receipts_of_run(lakehouse, run_id), key=lambda file: file.name != FLOW_FILE
        )
        for file in receipts[:1]:
            try:
                receipt = read_receipt(file)
                entries = [each for each in read_ledger(lakehouse, run_id) if each.confirmed]
                found.append(
                    _run(receipt, sum(each.rows for each in entries), [e.part for e in entries])
                )
            except (InputError, *NOT_SAID):
                continue  # `tvfeast verify` names it
    return found[::-1]


def _run(receipt: dict[str, Any], rows: int, parts: Iterable[str]) -> RunTold:
    return RunTold(
        run_id=receipt["run_id"],
        job=str(receipt.get("job", "")),
        started=parse_instant(receipt["started"]),
        outcome=str(receipt.get("outcome", Outcome.DONE)),
        error=str(receipt.get("error") or ""),
        duration=float(receipt.get("duration_s") or 0),
        steps=tuple(
            (
                f"{each['step']} {each['group']}" if each.get("group") else str(each["step"]),
                str(each["status"]),
                str(each.get("reason", "")),
                float(each.get("duration_s") or 0),
            )
            for each in receipt.get("steps", ())
        ),
        refused=tuple(
            (str(each.get("group") or each.get("step") or ""), str(each.get("reason", "")))
            for each in receipt.get("refused", ())
            if isinstance(each, dict)
        )
        if isinstance(receipt.get("refused"), list)
        else (),
        rows=rows,
        parts=tuple(parts),
    )


def stopped_section(runs: list[RunTold], held_back: Iterable[dict[str, Any]]) -> Section:
    """Return what was stopped, and why: refusals, failures, symbols that were kept back."""
    rows: list[Row] = [
        [
            instant(run.started),
            run.job,
            what,
            Cell(run.outcome, _mark(run.outcome)),
            reason,
            Cell(run.run_id, is_code=True),
        ]
        for run in reversed(runs)
        for what, reason in _reasons(run)
    ]
    waiting = [dict(each) for each in held_back]
    body: list[Table | Note] = []
    if rows:
        head = ("started", "job", "what", "outcome", "why", "run")
        caption = "What was stopped, the newest first"
        if len(rows) > _STOPPED:
            caption += f" ({_STOPPED} of {len(rows):,})"
        body.append(Table(caption, head, rows[:_STOPPED], command="tvfeast validate"))
    else:
        body.append(Note("Nothing was refused, and nothing failed.", Mark.GOOD))
    if waiting:
        names = ["symbol", *(name for name in waiting[0] if name != "symbol")]
        lines: list[Row] = [
            [str(each.get(name, "–")) for name in names] for each in waiting[:_STOPPED]
        ]
        caption = "Bars that wait until a split is confirmed or denied"
        body.append(Table(caption, names, lines, command="tvfeast status"))
    bad = sum(run.outcome != Outcome.DONE for run in runs)
    lead = (
        f"{counted(bad, 'run')} of the last {len(runs):,} did not do all that was asked; what was "
        "loaded before stays served."
        if bad
        else f"All of the last {counted(len(runs), 'run')} did what they were asked to."
    )
    return Section("stopped", "What was stopped", lead, body, "tvfeast status")


def _reasons(run: RunTold) -> Iterator[tuple[str, str]]:
    """Yield what of a run was stopped, and why; the steps of one scan have one reason."""
    found = list(run.refused)
    if not found and run.outcome != Outcome.DONE:
        failed = ("failed", "refused")
        found = [(name, why) for name, status, why, _ in run.steps if status in failed]
        found = found or [("all", run.error or "it was killed, or still runs")]
    names: dict[str, list[str]] = {}
    for what, why in found:
        if what != _LOOK_AT_ALL or len(found) == 1:
            names.setdefault(why.partition("; see ")[0], []).append(what)
    for why, those in names.items():
        yield ", ".join(those), why


def _mark(outcome: str) -> Mark:
    return Mark.CARE if outcome == Outcome.REFUSED else Mark.BAD


def timings_section(runs: list[RunTold]) -> Section:
    """Return how long the flows took, step by step."""
    flows = [run for run in runs if run.steps][-_FLOWS:]
    if not flows:
        note = Note("No flow has run yet: `tvfeast flow-data` starts one.")
        return Section("timings", "Timings", "There is no flow to time yet.", [note])
    names = list(dict.fromkeys(_step(name) for run in flows for name, *_ in run.steps))
    cells = [(run, name, _spent(run, name)) for run in flows for name in names]
    plot = Plot(
        key="timings",
        title=f"The last {counted(len(flows), 'flow')}, step by step",
        kind=Kind.STACKED,
        x=Axis("start", "UTC"),
        y=Axis("duration", "s"),
        columns={
            "x": [f"{run.started:%Y-%m-%dT%H:%M}" for run, _, _ in cells],
            "series": [name for _, name, _ in cells],
            "value": [value for _, _, value in cells],
        },
        palette=[f"s{number % 8}" for number in range(len(names))],
        names=names,
    )
    last = flows[-1]
    usual = sorted(run.duration for run in flows)[len(flows) // 2]
    lead = (
        f"The last flow took {seconds(last.duration)}; the median of the last "
        f"{counted(len(flows), 'flow')} is {seconds(usual)}."
    )
    rows: list[Row] = []
    for name in names:
        times = sorted(_spent(run, name) for run in flows)
        rows.append(
            [name, seconds(_spent(last, name)), seconds(times[len(times) // 2]), seconds(times[-1])]
        )
    table = Table("By step", ("step", "last", "median", "longest"), rows, frozenset({1, 2, 3}))
    return Section("timings", "Timings", lead, [plot, table], "tvfeast flow-data --json")


def _step(name: str) -> str:
    return name.partition(" ")[0] if not name.startswith("verify") else "verify --online"


def _spent(run: RunTold, step: str) -> float:
    return sum(spent for name, _, _, spent in run.steps if _step(name) == step)


def _sizes(lakehouse: Lakehouse, dataset: Dataset) -> dict[Part, int]:
    return {part: lakehouse.size(part.key) for part in list_parts(lakehouse, dataset)}


def growth_section(lakehouse: Lakehouse, catalog: Catalog, runs: list[RunTold]) -> Section:
    """Return how many bytes and rows there are, and when they came."""
    started = {part: run.started for run in runs for part in run.parts}
    totals: dict[str, tuple[int, int]] = {}
    added: dict[tuple[str, str], int] = {}
    for dataset in catalog.datasets:
        sizes = reading_again(partial(_sizes, lakehouse, dataset))
        for part, own in sizes.items():
            when = started[part.key].date() if part.key in started else part.date
            key = when.isoformat(), dataset.name
            added[key] = added.get(key, 0) + own
        if sizes:
            totals[dataset.name] = len(sizes), sum(sizes.values())
    dates = sorted({each for each, _ in added})
    every = max(1, len(dates) // _POINTS)
    series, points, values = [], [], []
    for name in totals:
        so_far = 0
        for number, each in enumerate(dates):
            so_far += added.get((each, name), 0)
            if (len(dates) - 1 - number) % every == 0:
                series.append(name)
                points.append(each)
                values.append(so_far / 1e6)
    whole = sum(octets for _, octets in totals.values())
    rows: list[Row] = [
        [Cell(name, is_code=True), count(parts), size(octets)]
        for name, (parts, octets) in sorted(totals.items(), key=lambda each: -each[1][1])
    ]
    body: list[Table | Plot | Note] = []
    if points:
        body.append(
            Plot(
                key="growth",
                title="Size by dataset, since each part was written",
                kind=Kind.LINES,
                x=Axis("written", "UTC date"),
                y=Axis("size", "MB"),
                columns={"date": points, "series": series, "value": values},
                palette=[f"s{number % 8}" for number in range(len(totals))],
                names=list(totals),
                note="Of parts whose run was retired, the date is that of their rows.",
            )
        )
    body.append(Table("What there is now", ("dataset", "parts", "size"), rows, frozenset({1, 2})))
    lead = f"The parts have {size(whole)} in {counted(sum(n for n, _ in totals.values()), 'file')}."
    return Section("growth", "Growth of the lakehouse", lead, body, "tvfeast compact")
