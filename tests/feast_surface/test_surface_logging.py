"""What a feature service serves: logged, read back, and validated against a saved dataset."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService
from feast.dqm.errors import ValidationFailed
from feast.dqm.profilers.profiler import Profile, Profiler, ValidationError, ValidationReport
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.infra.offline_stores.file_source import (
    FileLoggingDestination,
    SavedDatasetFileStorage,
)
from feast.saved_dataset import SavedDataset

from tests.feast_surface.repositories import (
    DAY,
    MONDAY,
    SYMBOL,
    Repository,
    price_file,
    price_view,
)
from tests.feast_surface.surface import fails, refused, surface

SECOND = timedelta(seconds=1)


def service(repository: Repository, **how: object) -> FeatureService:
    """Apply a feature service ``desk`` of prices, which is logged."""
    destination = FileLoggingDestination(path=str(repository.folder / "logs"), **how)
    view = price_view(price_file(repository))
    desk = FeatureService(
        name="desk",
        features=[view[["price", "volume"]]],
        logging_config=LoggingConfig(destination=destination),
    )
    repository.store.apply([SYMBOL, view, desk])
    (repository.folder / "logs").mkdir(exist_ok=True)
    return desk


def logged(repository: Repository, desk: FeatureService, *requests: tuple[datetime, float]):
    """Return a log of requests of A: when, and which price was served."""
    schema = FeatureServiceLoggingSource(desk, "shop").get_schema(repository.store.registry)
    times = [at for at, _ in requests]
    columns = {
        "symbol": ["A"] * len(requests),
        "prices__price": [price for _, price in requests],
        "prices__price__timestamp": [MONDAY] * len(requests),
        "prices__price__status": [1] * len(requests),
        "prices__volume": [10] * len(requests),
        "prices__volume__timestamp": [MONDAY] * len(requests),
        "prices__volume__status": [1] * len(requests),
        "__log_timestamp": times,
        "__log_date": [at.date() for at in times],
        "__request_id": [f"r{number}" for number in range(len(requests))],
    }
    return pa.table(columns, schema=schema)


def read_back(
    repository: Repository, desk: FeatureService, start: datetime, end: datetime
) -> pa.Table:
    """Return what was logged between two instants, both included, by request."""
    store = repository.store
    job = store._get_provider().retrieve_feature_service_logs(
        desk, start, end, store.config, store.registry
    )
    return job.to_arrow().sort_by("__request_id")


@surface("`store.write_logged_features`, and the log is read back by time")
def test_a_log_is_written_and_read_back(repository: Repository):
    desk = service(repository)
    log = logged(repository, desk, (MONDAY, 1.5), (MONDAY + DAY, 2.5), (MONDAY + 2 * DAY, 3.5))
    for part in (log.slice(0, 1), log.slice(1)):
        repository.store.write_logged_features(part, desk)
    found = read_back(repository, desk, MONDAY, MONDAY + DAY)
    assert found.select(log.column_names).to_pylist() == log.slice(0, 2).to_pylist()


@surface("… of a folder of Parquet")
def test_a_folder_is_a_log(repository: Repository, tmp_path: Path):
    desk = service(repository)
    log = logged(repository, desk, (MONDAY, 1.5), (MONDAY + DAY, 2.5))
    folder = tmp_path / "given"
    folder.mkdir()
    for number in range(2):
        pq.write_table(log.slice(number, 1), folder / f"{number}.parquet")
    repository.store.write_logged_features(folder, desk)
    found = read_back(repository, desk, MONDAY, MONDAY + DAY)
    assert found.select(log.column_names).to_pylist() == log.to_pylist()


@surface(
    "… in folders of its dates (`partition_by`)",
    stock=fails("the column of the folders is not read", KeyError, "__log_date"),
    remark="what folders are named for is read as text",
)
def test_a_log_in_folders(repository: Repository):
    desk = service(repository, partition_by=["__log_date"])
    log = logged(repository, desk, (MONDAY, 1.5), (MONDAY + DAY, 2.5))
    repository.store.write_logged_features(log, desk)
    folders = {path.parent.name for path in (repository.folder / "logs").rglob("*.parquet")}
    assert {name[-10:] for name in folders} == {"2021-04-12", "2021-04-13"}
    found = read_back(repository, desk, MONDAY, MONDAY + SECOND)
    assert found["prices__price"].to_pylist() == [1.5]


class Range(Profile, Profiler):
    """A profiler without Great Expectations: prices are as in the reference, from low to high."""

    def analyze_dataset(self, dataset: pd.DataFrame) -> Range:
        self.low, self.high = dataset["prices__price"].agg(["min", "max"])
        return self

    def validate(self, dataset: pd.DataFrame) -> ValidationReport:
        within = dataset["prices__price"].between(self.low, self.high)
        return Report([] if within.all() else [ValidationError("range", "prices__price")])


class Report(ValidationReport):
    def __init__(self, errors: list[ValidationError]) -> None:
        self._errors = errors

    @property
    def is_success(self) -> bool:
        return not self._errors

    @property
    def errors(self) -> list[ValidationError]:
        return self._errors


def known(repository: Repository, desk: FeatureService, *days: datetime) -> Any:
    """Ask what was known of A on some days: 1.5 on Monday, 3.5 a day later."""
    asked = pd.DataFrame({"symbol": ["A"] * len(days), "event_timestamp": days})
    return repository.store.get_historical_features(asked, desk, full_feature_names=True)


def reference(repository: Repository, desk: FeatureService, *days: datetime) -> SavedDataset:
    """Save it."""
    storage = SavedDatasetFileStorage(path=str(repository.folder / "saved.parquet"))
    job = known(repository, desk, *days)
    return repository.store.create_saved_dataset(job, "known", storage, allow_overwrite=True)


@surface("`store.create_saved_dataset`, and it is read back")
def test_a_saved_dataset_is_read_back(repository: Repository):
    reference(repository, service(repository), MONDAY, MONDAY + DAY)
    saved = repository.opened().get_saved_dataset("known").to_df()
    assert sorted(saved["prices__price"]) == [1.5, 3.5]


def check_log(repository: Repository, price: float) -> ValidationFailed | None:
    desk = service(repository)
    saved = reference(repository, desk, MONDAY, MONDAY + DAY)
    log = logged(repository, desk, (MONDAY, 2.0), (MONDAY + DAY, price))
    repository.store.write_logged_features(log, desk)
    return repository.store.validate_logged_features(
        desk,
        MONDAY,
        MONDAY + DAY,
        saved.as_reference(name="range", profiler=Range()),
        throw_exception=False,
        cache_profile=False,
    )


@surface(
    "`store.validate_logged_features` against a saved dataset, with a profiler of one's own",
    remark="`feast validate` knows one profiler alone, that of Great Expectations before 1.0",
)
def test_a_log_is_validated(repository: Repository):
    assert check_log(repository, 3.0) is None
    failed = check_log(repository, 99.0)
    assert isinstance(failed, ValidationFailed)
    assert [each.check_name for each in failed.report.errors] == ["range"]


@surface("a retrieval that is validated against a saved dataset")
def test_a_retrieval_is_validated(repository: Repository):
    desk = service(repository)
    saved = reference(repository, desk, MONDAY).as_reference(name="range", profiler=Range())
    assert len(known(repository, desk, MONDAY).to_df(validation_reference=saved)) == 1
    with pytest.raises(ValidationFailed):
        known(repository, desk, MONDAY, MONDAY + DAY).to_arrow(validation_reference=saved)


@surface(
    "logs to another destination than files",
    stock=refused("", AssertionError),
    ours=refused("AsofOfflineStore writes logs to a FileLoggingDestination"),
)
def test_logs_to_another_destination(repository: Repository, other: Callable[[], object]):
    desk = service(repository)
    log = logged(repository, desk, (MONDAY, 1.5))
    desk.logging_config = LoggingConfig(destination=other())
    repository.store.write_logged_features(log, desk)


@pytest.fixture
def other() -> Callable[[], object]:
    from feast.infra.offline_stores.bigquery_source import BigQueryLoggingDestination

    return lambda: BigQueryLoggingDestination(table_ref="p.d.t")


@surface("offline reads are counted (`feature_server: {metrics: {offline_features: …}}`)")
def test_offline_reads_are_counted(repository: Repository, monkeypatch: pytest.MonkeyPatch):
    from feast import metrics

    monkeypatch.setattr(metrics._config, "offline_features", True)
    counted = metrics.offline_store_request_total.labels(method="to_arrow", status="success")
    before = counted._value.get()
    job = known(repository, service(repository), MONDAY)
    assert (len(job.to_df()), job.to_arrow().num_rows) == (1, 1)
    assert counted._value.get() == before + 2
