"""What runs tasks: this process, Ray or Spark.

A task that fails on an engine is tried again by the engine; what would fail each time, because the
input is at fault, is not. Each engine is imported when it is asked for, and is the one that the
process is connected to already, or else the one that the engine's own settings name
(``RAY_ADDRESS``, ``spark-defaults.conf``, ``SPARK_REMOTE``), which without any is on this machine.

Which one does the work of a project is said once, below ``offline_store`` in
``feature_store.yaml``: Feast's retrievals, training sets, panels and backfills go by it.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeVar, get_args

import pyarrow as pa

from ingestion.base.errors import FeastRepositoryError, InputError, TvfeastError
from ingestion.base.settings import Settings
from ingestion.base.store_files import read_configuration

Task = TypeVar("Task")
Made = TypeVar("Made")

ExecutorName = Literal["local", "ray", "spark"]
ROWS_PER_TASK = 1_000_000
"""Where nobody says another number."""

_ATTEMPTS = 4
"""Of a task on Ray; Spark has a setting of its own for it, and that many by default."""


@dataclass(frozen=True)
class Engine:
    """What does the work of a project."""

    executor: ExecutorName = "local"
    rows_per_task: int = ROWS_PER_TASK
    """How many rows a task has at most: its memory goes by them."""
    staging: str | None = None
    """A folder that all machines of the executor see, or its address."""


def engine_of(settings: Settings) -> Engine:
    """Read from ``feature_store.yaml`` what does the work; without one, this process does.

    Raises
    ------
    FeastRepositoryError
        If it cannot be read, or names no executor.
    InputError
        If the executor is not installed.

    Examples
    --------
    >>> engine_of(Settings.from_environment()).executor
    'local'
    """
    if not (settings.feast_repository / "feature_store.yaml").exists():
        return Engine()
    store = read_configuration(settings).get("offline_store")
    said = store if isinstance(store, dict) else {}
    executor, rows = said.get("executor", "local"), said.get("rows_per_task", ROWS_PER_TASK)
    if executor not in get_args(ExecutorName) or not (isinstance(rows, int) and rows > 0):
        raise FeastRepositoryError(
            f"feature_store.yaml: offline_store has executor {executor} and rows_per_task {rows}; "
            "the first is local, ray or spark, the second a whole number above 0"
        )
    require(executor)
    staging = said.get("staging_location")
    if staging is not None and "://" not in str(staging):
        staging = (settings.feast_repository / str(staging)).resolve()
    return Engine(executor, rows, None if staging is None else str(staging))


def require(executor: ExecutorName) -> None:
    """Refuse an executor that is not installed.

    Raises
    ------
    InputError
        If it is not: what to install.

    Examples
    --------
    >>> require("local")
    """
    package = {"ray": "ray", "spark": "pyspark"}.get(executor)
    if package is None:
        return
    try:
        import_module(package)
    except ImportError:
        raise InputError(
            f"the executor {executor} needs the package {package}: pip install "
            f"'tvfeast[{executor}]', in a checkout pip install '.[{executor}]'"
        ) from None


def run(
    executor: ExecutorName, work: Callable[[Task], Made], tasks: Sequence[Task]
) -> Iterator[Made]:
    """Do some work for each task.

    Parameters
    ----------
    work
        A function of a module, so that other processes can import it, perhaps with some arguments
        given already; it uses one core on an engine. It may run more than once for a task.

    Returns
    -------
    iterator
        What was made, in the order of the tasks.

    Raises
    ------
    InputError
        If the engine is not installed, or the work says that its input is at fault.
    TvfeastError
        If a task failed each time that it was tried.
    """
    require(executor)
    if executor == "local":
        return map(work, tasks)
    made = _run_on_ray(work, tasks) if executor == "ray" else _run_on_spark(work, tasks)
    return map(_or_raise, made)


def _attempt(work: Callable[[Task], Made], task: Task) -> Made | TvfeastError:
    """Work once, on one core: the engine has as many tasks at a time as there are cores."""
    threads = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        return work(task)
    except InputError as error:  # to try again would not help
        return error
    finally:
        pa.set_cpu_count(threads)


def _or_raise(made: Made | TvfeastError) -> Made:
    if isinstance(made, TvfeastError):
        raise made
    return made


def _run_on_ray(
    work: Callable[[Task], Made], tasks: Sequence[Task]
) -> Iterator[Made | TvfeastError]:
    import ray

    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    attempt = ray.remote(max_retries=_ATTEMPTS - 1, retry_exceptions=True)(_attempt)
    shared = ray.put(work)
    waiting = deque(attempt.remote(shared, task) for task in tasks)
    try:
        while waiting:
            try:
                yield ray.get(waiting[0])
            except ray.exceptions.RayError as error:
                raise _failed("Ray", len(tasks) - len(waiting), len(tasks), error) from error
            waiting.popleft()
    finally:
        # To cancel a task that is done can end this process, so none is cancelled without need.
        if waiting:
            _, running = ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
            for each in running:
                ray.cancel(each)


def _run_on_spark(
    work: Callable[[Task], Made], tasks: Sequence[Task]
) -> Iterator[Made | TvfeastError]:
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    session = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()

    def attempt(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                made = pickle.dumps(_attempt(work, tasks[number]))
                yield pa.record_batch([[number], [made]], ["number", "made"])

    # One partition for each number, so one Spark task for each of ours.
    numbers = session.range(0, len(tasks), 1, max(len(tasks), 1))
    try:
        rows = numbers.mapInArrow(attempt, "number long, made binary").collect()
    except PySparkException as error:
        raise _failed("Spark", None, len(tasks), error) from error
    made: dict[int, Any] = {row.number: pickle.loads(row.made) for row in rows}  # noqa: S301 our own
    yield from (made[number] for number in range(len(tasks)))


def _failed(engine: str, place: int | None, count: int, error: Exception) -> TvfeastError:
    """Say in one line what an engine says in many: its last line names the error itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    which = f"a task of {count}" if place is None else f"task {place + 1} of {count}"
    told = lines[-1] if lines else type(error).__name__
    return TvfeastError(f"{engine} could not do {which}, tried as often as it does ({told})")
