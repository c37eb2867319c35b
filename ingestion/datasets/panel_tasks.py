"""A panel by the tasks of an engine, each of some dates: the same rows in the same order."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.executors import Engine, run
from ingestion.base.instants import DAY, MICROSECONDS, date_of_day
from ingestion.base.settings import StoreUrl
from ingestion.datasets.panel import Counts, Features, panel
from ingestion.datasets.questions import Questions
from ingestion.lakehouse import Lakehouse, open_lakehouse
from ingestion.markets.sessions import by_hours
from ingestion.plugins.offline.files import Location
from ingestion.plugins.offline.writing import scratch, write_passing


class _Span(NamedTuple):
    """UTC dates of decisions, both included."""

    first: date
    last: date


@dataclass(frozen=True)
class _Task:
    """What each task is given beside its dates."""

    lakehouse: Path | StoreUrl
    features: Sequence[Features]
    questions: Questions
    folder: Location
    options: Mapping[str, Any] = field(default_factory=dict)


def panel_in_tasks(
    engine: Engine,
    staging: Location,
    lakehouse: Lakehouse,
    features: Sequence[Features],
    questions: Questions,
    *,
    counts: Counts | None = None,
    **options: Any,
) -> Iterator[pa.Table]:
    """Yield what :func:`~ingestion.datasets.panel.panel` does; tasks of an engine answer.

    Parameters
    ----------
    staging
        The folder through which the rows come back; all machines of the engine see it.
    options
        Others of :func:`~ingestion.datasets.panel.panel`.

    Raises
    ------
    InputError, TvfeastError
        As :func:`~ingestion.base.executors.run`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from ingestion.datasets import Schedule, Universe
    >>> from ingestion.lakehouse import LocalDisk
    >>> from ingestion.plugins.offline.files import location_of
    >>> day, who = date(2021, 3, 5), Universe.fixed(["NYSE:KO"])
    >>> asked = Questions(pa.array(["NYSE:KO"]), Schedule(day, day), who, until=0)
    >>> with TemporaryDirectory() as folder:  # nothing was known in 1970
    ...     lakehouse = LocalDisk(Path(folder))
    ...     list(panel_in_tasks(Engine(), location_of(folder), lakehouse, [], asked))
    []
    """
    counts = counts if counts is not None else Counts()
    at = lakehouse.location("")
    place = StoreUrl(at) if "://" in at else Path(at)
    with scratch(staging) as folder:
        task = _Task(place, features, questions, folder, options)
        spans = _spans(questions, engine.rows_per_task)
        for path, found in run(engine.executor, partial(_of_span, task), spans):
            counts.rows += found.rows
            counts.matched += found.matched
            later = Counter(counts.created_later)
            later.update(found.created_later)
            counts.created_later = dict(later)
            if path is not None:
                with folder.filesystem.open_input_file(path) as opened:
                    file = pq.ParquetFile(opened)
                    for number in range(file.num_row_groups):
                        yield file.read_row_group(number, use_threads=False)
                folder.filesystem.delete_file(path)


def _spans(questions: Questions, at_most: int) -> list[_Span]:
    """Cut the decisions between UTC dates; each span asks about so many questions if it can."""
    of_day: Counter[int] = Counter()
    for key, places in by_hours(questions.names.to_pylist()).items():
        decisions = questions.schedule.decisions(key)
        days = decisions[decisions <= questions.until] // (DAY * MICROSECONDS)
        for day, count in zip(*np.unique(days, return_counts=True), strict=True):
            of_day[int(day)] += int(count) * len(places)
    spans: list[_Span] = []
    asked = 0
    for number in sorted(of_day):
        day = date_of_day(number)
        asked += of_day[number]
        if spans and asked <= at_most:
            spans[-1] = _Span(spans[-1].first, day)
        else:
            spans.append(_Span(day, day))
            asked = of_day[number]
    return spans


def _of_span(task: _Task, span: _Span) -> tuple[str | None, Counts]:
    """Write the panel of some dates into a file, if there are rows; again, into another one."""
    schedule = replace(task.questions.schedule, first=span.first, last=span.last)
    questions, counts = replace(task.questions, schedule=schedule), Counts()
    lakehouse = open_lakehouse(task.lakehouse)
    tables = panel(lakehouse, task.features, questions, counts=counts, **task.options)
    place = task.folder.inside(f"{uuid.uuid4().hex}.parquet")
    return place.path if write_passing(place, tables) else None, counts
