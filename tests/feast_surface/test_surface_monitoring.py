"""Feast's monitoring: what ``feast monitor`` computes and keeps, and the UI shows."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, FeatureView, Field, FileSource
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.monitoring.monitoring_service import GRANULARITY_WINDOWS, MonitoringService
from feast.types import Array, Bool, Float64, Int64, String

from tests.feast_surface.repositories import DAY, MONDAY, SYMBOL, Repository, define, instants
from tests.feast_surface.surface import broken, fails, surface

FIELDS = {"symbol": String, "price": Float64, "volume": Int64, "sector": String, "open": Bool}
NUMBERS = ("price", "volume")
QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def history(days: int = 120, seed: int = 1, **columns: Any) -> pa.Table:
    """Make four rows for each day until Monday; a tenth of the values is missing."""
    chance = np.random.default_rng(seed)
    count = 4 * days
    missing = chance.random((4, count)) < 0.1
    made = {
        "symbol": pa.array([f"S{number % 4}" for number in range(count)]),
        "price": pa.array(chance.normal(100, 20, count), mask=missing[0]),
        "volume": pa.array(chance.integers(0, 10_000, count), mask=missing[1]),
        "sector": pa.array(
            chance.choice([f"sector {n}" for n in range(14)], count), mask=missing[2]
        ),
        "open": pa.array(chance.random(count) < 0.7, mask=missing[3]),
        "event_timestamp": instants(*(MONDAY - n // 4 * DAY for n in range(count))),
    }
    return pa.table(made | columns)


def monitored(repository: Repository, rows: pa.Table, **fields: Any) -> Repository:
    """Register the rows as the view ``quotes``, which the service ``all`` has too."""
    path = repository.folder / "quotes.parquet"
    pq.write_table(rows, path)
    schema = [Field(name=name, dtype=dtype) for name, dtype in (FIELDS | fields).items()]
    quotes = FeatureView(
        name="quotes",
        entities=[SYMBOL],
        ttl=timedelta(0),
        schema=schema,
        source=FileSource(name="quotes", path=str(path), timestamp_field="event_timestamp"),
    )
    repository.store.apply([SYMBOL, quotes, FeatureService(name="all", features=[quotes])])
    return repository


def expected(rows: pd.DataFrame, name: str) -> dict[str, Any]:
    """Compute with pandas and NumPy what Feast's documentation says of a feature."""
    column = rows[name]
    there = column.dropna()
    facts = {
        "row_count": len(column),
        "null_count": int(column.isna().sum()),
        "null_rate": column.isna().mean() if len(column) else 0.0,
    }
    if name not in NUMBERS:
        often = there.value_counts()
        return facts | {
            "feature_type": "categorical",
            "top": sorted(often.tolist(), reverse=True)[:10],
            "others": int(sum(sorted(often.tolist(), reverse=True)[10:])),
            "different": len(often),
        }
    values = there.astype(float).to_numpy()
    counts, edges = np.histogram(values, 20)
    facts |= {name: np.quantile(values, share) for name, share in QUANTILES.items()}
    return facts | {
        "feature_type": "numeric",
        "mean": values.mean(),
        "stddev": values.std(ddof=1),
        "min_val": values.min(),
        "max_val": values.max(),
        "counts": counts.tolist(),
        "edges": edges.tolist(),
    }


def comparable(metric: dict[str, Any]) -> dict[str, Any]:
    """Return what :func:`expected` says, of a metric of Feast's."""
    found = {name: value for name, value in metric.items() if value is not None}
    histogram = found.pop("histogram")
    if metric["feature_type"] == "numeric":
        found |= {"counts": histogram["counts"], "edges": histogram["bins"]}
    else:
        found |= {
            "top": [each["count"] for each in histogram["values"]],
            "others": histogram["other_count"],
            "different": histogram["unique_count"],
        }
    return found


def assert_metrics(metrics: list[dict[str, Any]], rows: pd.DataFrame) -> None:
    """Compare the metrics of all features with pandas."""
    assert {metric["feature_name"] for metric in metrics} == set(FIELDS) - {"symbol"}
    for metric in metrics:
        wanted = expected(rows, metric["feature_name"])
        found = comparable(metric)
        assert {name: found[name] for name in wanted} == {
            name: pytest.approx(value) if not isinstance(value, str) else value
            for name, value in wanted.items()
        }


def until_monday(rows: pa.Table, window: timedelta) -> pd.DataFrame:
    frame = rows.to_pandas()
    return frame[frame["event_timestamp"] >= MONDAY - window]


@surface(
    "`feast monitor run`",
    remark="daily, weekly, biweekly, monthly, quarterly and a baseline: what pandas gives",
)
def test_each_granularity_is_that_of_its_window(repository: Repository):
    rows = history()
    told = monitored(repository, rows).run("monitor", "run")
    assert "Status: completed" in told
    assert "Feature views computed: 1" in told
    service = MonitoringService(repository.opened())
    for granularity, window in GRANULARITY_WINDOWS.items():
        metrics = service.get_feature_metrics("shop", granularity=granularity)
        assert_metrics(metrics, until_monday(rows, window))
        for metric in metrics:
            assert metric["metric_date"] == (MONDAY - window).date().isoformat()
            assert datetime.fromisoformat(metric["max_event_timestamp"]) == MONDAY
            assert metric["is_baseline"] is False
    assert_metrics(service.get_baseline("shop"), rows.to_pandas())


@surface("… its sums by view and by service")
def test_views_and_services_are_summed_up(repository: Repository):
    rows = history(days=8)
    monitored(repository, rows).run("monitor", "run")
    frame = until_monday(rows, DAY)
    rates = frame[[name for name in FIELDS if name != "symbol"]].isna().mean()
    service = MonitoringService(repository.opened())
    (view,) = service.get_feature_view_metrics("shop", granularity="daily")
    assert (view["total_row_count"], view["total_features"]) == (len(frame), 4)
    assert view["features_with_nulls"] == (rates > 0).sum()
    assert view["avg_null_rate"] == pytest.approx(rates.mean())
    assert view["max_null_rate"] == pytest.approx(rates.max())
    (whole,) = service.get_feature_service_metrics("shop", granularity="daily")
    assert (whole["total_feature_views"], whole["total_features"]) == (1, 4)
    assert whole["avg_null_rate"] == pytest.approx(rates.mean())
    by_service = service.get_feature_metrics("shop", feature_service_name="all")
    assert len(by_service) == 4 * (len(GRANULARITY_WINDOWS) + 1)


@surface("`feast monitor run --start-date … --end-date … --granularity …`")
def test_dates_that_are_given_are_the_window(repository: Repository):
    rows = history(days=20)
    dates = ("--start-date", "2021-04-05", "--end-date", "2021-04-07", "--granularity", "weekly")
    told = monitored(repository, rows).run("monitor", "run", *dates)
    assert "Metric dates: 2021-04-05" in told
    frame = rows.to_pandas()
    inside = frame[frame["event_timestamp"].dt.strftime("%F").between("2021-04-05", "2021-04-07")]
    assert_metrics(MonitoringService(repository.opened()).get_feature_metrics("shop"), inside)


@surface(
    "drift: metrics beside a baseline, which stays until it is set anew with dates",
    remark="Feast shows a feature's metrics beside its baseline, and draws them by date",
)
def test_metrics_drift_away_from_a_baseline_until_it_is_set_anew(repository: Repository):
    first, both = drifted(repository)
    service = MonitoringService(repository.opened())
    assert_metrics(service.get_baseline("shop"), first)
    series = service.get_timeseries("shop", feature_name="price", granularity="daily")
    assert [metric["metric_date"] for metric in series] == ["2021-04-11", "2021-04-12"]
    last_day = both["event_timestamp"] >= MONDAY
    assert series[-1]["mean"] == pytest.approx(both["price"][last_day].mean())
    dates = ("--start-date", "2021-04-01", "--end-date", "2021-04-13", "-g", "monthly")
    assert "Baseline: SET" in repository.run("monitor", "run", "--set-baseline", *dates)
    assert_metrics(MonitoringService(repository.opened()).get_baseline("shop"), both)


ALREADY = broken(
    "it says that the baseline is set, and leaves the one that is there: give dates", AssertionError
)


@surface("`feast monitor run --set-baseline` a second time", stock=ALREADY, ours=ALREADY)
def test_a_baseline_is_set_anew_without_dates(repository: Repository):
    _, both = drifted(repository)
    assert "Baseline: SET" in repository.run("monitor", "run", "--set-baseline")
    assert_metrics(MonitoringService(repository.opened()).get_baseline("shop"), both)


def drifted(repository: Repository) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Monitor a week; and again, with a day of other prices. Return the week, and all rows."""
    first = history(days=8)
    monitored(repository, first).run("monitor", "run")
    moved = history(days=1, seed=2, price=pa.array([900.0, 910.0, 920.0, 930.0]))
    moved = moved.set_column(5, "event_timestamp", instants(*[MONDAY + DAY] * 4))
    both = pa.concat_tables([first, moved])
    pq.write_table(both, repository.folder / "quotes.parquet")
    repository.run("monitor", "run")
    return first.to_pandas(), both.to_pandas()


@surface("a second run of the same day", remark="its metrics take the place of the first's")
def test_a_second_run_replaces_the_first(repository: Repository):
    monitored(repository, history(days=3))
    for _ in range(2):
        repository.run("monitor", "run")
    assert len(MonitoringService(repository.opened()).get_feature_metrics("shop")) == 4 * 6


@surface(
    "a NaN or an infinite value",
    stock=fails("the whole view is left out, with an exception in the log", AssertionError),
    remark="a NaN is a null; what an infinite value leaves without a number is null",
)
def test_values_that_are_no_numbers_leave_the_others_measured(repository: Repository):
    price = [float("nan"), float("inf"), *np.linspace(1, 2, 10)]
    rows = history(days=3, price=pa.array(price))
    told = monitored(repository, rows).run("monitor", "run")
    assert "Feature views computed: 1" in told
    (metric,) = MonitoringService(repository.opened()).get_baseline("shop", feature_name="price")
    assert (metric["row_count"], metric["null_count"]) == (12, 1)
    assert (metric["mean"], metric["stddev"], metric["max_val"]) == (None, None, None)
    assert (metric["min_val"], metric["p50"]) == (1.0, pytest.approx(np.linspace(1, 2, 10)[5]))
    assert sum(metric["histogram"]["counts"]) == 10


@surface("a feature without any value; a view without rows, or without a file")
def test_what_is_empty_is_measured_or_left_out(repository: Repository):
    rows = history(days=1, price=pa.nulls(4, pa.float64()), sector=pa.nulls(4, pa.string()))
    monitored(repository, rows).run("monitor", "run")
    for name in ("price", "sector"):
        service = MonitoringService(repository.opened())
        (metric,) = service.get_baseline("shop", feature_name=name)
        assert (metric["row_count"], metric["null_count"], metric["null_rate"]) == (4, 4, 1.0)
        assert metric["mean"] is metric["histogram"] is metric["p50"] is None
    for change in ("no rows", "no file"):
        path = repository.folder / "quotes.parquet"
        if change == "no rows":
            pq.write_table(rows.slice(0, 0), path)
        else:
            path.unlink()
        assert "Feature views computed: 0" in repository.run("monitor", "run"), change


@surface(
    "a column that the files call otherwise (`field_mapping`)",
    stock=fails("it has no metrics", AssertionError),
)
def test_what_a_view_renames_is_measured(repository: Repository):
    rows = history(days=2)
    renamed = rows.rename_columns([RENAMED.get(name, name) for name in rows.column_names])
    monitored(repository, renamed)
    view = repository.store.get_feature_view("quotes")
    view.batch_source = FileSource(
        name="quotes",
        path=str(repository.folder / "quotes.parquet"),
        timestamp_field="event_timestamp",
        field_mapping={"px": "price"},
    )
    repository.store.apply([view])
    repository.run("monitor", "run")
    metrics = MonitoringService(repository.opened()).get_baseline("shop")
    assert_metrics(metrics, rows.to_pandas())


RENAMED = {"price": "px"}


@surface(
    "a view that has lists",
    stock=fails("the whole view is left out, with an exception in the log", AssertionError),
    remark="lists, sets and structs have no metrics",
)
def test_lists_leave_the_others_measured(repository: Repository):
    rows = history(days=2)
    path = pa.array([[1.0, 2.0]] * 8)
    monitored(repository, rows.append_column("path", path), path=Array(Float64))
    repository.run("monitor", "run")
    metrics = MonitoringService(repository.opened()).get_baseline("shop")
    assert_metrics(metrics, rows.to_pandas())


@surface(
    "an integer that no float represents exactly; a feature that no file has",
    stock=fails("the whole view is left out, with an exception in the log", AssertionError),
    remark="the feature is null in all rows",
)
def test_large_integers_and_missing_columns_are_measured(repository: Repository):
    large = [2**62 + 1, 2**62 + 3, None, 0]
    monitored(repository, history(days=1, volume=pa.array(large)), later=Float64)
    repository.run("monitor", "run")
    service = MonitoringService(repository.opened())
    metrics = {each["feature_name"]: each for each in service.get_baseline("shop")}
    assert metrics.keys() == {*FIELDS, "later"} - {"symbol"}
    volume, later = metrics["volume"], metrics["later"]
    assert (volume["row_count"], volume["null_count"]) == (4, 1)
    assert volume["max_val"] == 2.0**62
    assert (later["row_count"], later["null_rate"], later["mean"]) == (4, 1.0, None)


@surface("jobs: submitted, run, looked up", remark="as the UI's server does in the background")
def test_a_job_says_how_it_went(repository: Repository):
    service = MonitoringService(monitored(repository, history(days=2)).store)
    job = service.submit_job("shop", "baseline", "quotes", {"feature_names": ["price"]})
    assert service.get_job(job)["status"] == "pending"
    service.execute_job(job)
    found = service.get_job(job, project="shop")
    assert found["status"] == "completed"
    assert found["parameters"] == {"feature_names": ["price"]}
    assert [each["feature_name"] for each in service.get_baseline("shop")] == ["price"]
    assert service.get_job(job, project="another") is None


@surface("metrics that are not kept (`compute_transient`)")
def test_a_look_at_a_window_keeps_nothing(repository: Repository, tmp_path: Path):
    rows = history(days=6)
    service = MonitoringService(monitored(repository, rows).store)
    first, last = MONDAY.date() - 2 * DAY, MONDAY.date()
    found = service.compute_transient("shop", "quotes", start_date=first, end_date=last)
    frame = rows.to_pandas()
    assert_metrics(found["metrics"], frame[frame["event_timestamp"].dt.date >= first])
    assert service.get_feature_metrics("shop") == []


@surface("`data_quality_monitoring: {auto_baseline: true}`", remark="`feast apply` computes it")
def test_a_new_view_gets_a_baseline_when_it_is_applied(repository: Repository, monkeypatch):
    asked = {"auto_baseline": True}
    shop = Repository(repository.kind, repository.folder, data_quality_monitoring=asked)
    define(shop, monkeypatch)
    before = set(threading.enumerate())
    assert "Computing baseline metrics" in shop.run("apply")
    for thread in set(threading.enumerate()) - before:
        thread.join()
    (metric,) = MonitoringService(shop.opened()).get_baseline("shop")
    assert (metric["feature_name"], metric["mean"]) == ("price", 2.5)


@surface("`feast monitor run --source-type log`", remark="of what a feature service has logged")
def test_what_was_served_is_measured(repository: Repository):
    monitored(repository, history(days=2))
    logs = repository.folder / "logs"
    logs.mkdir()
    desk = FeatureService(
        name="desk",
        features=[repository.store.get_feature_view("quotes")[["price", "sector"]]],
        logging_config=LoggingConfig(destination=FileLoggingDestination(path=str(logs))),
    )
    repository.store.apply([desk])
    schema = FeatureServiceLoggingSource(desk, "shop").get_schema(repository.store.registry)
    logged: dict[str, list[Any]] = {field.name: [None] * 3 for field in schema}
    logged["quotes__price"] = [1.0, 3.0, None]
    logged["quotes__sector"] = ["a", "b", "a"]
    logged["__log_timestamp"] = [MONDAY - DAY / 2, MONDAY, MONDAY]
    logged["__log_date"] = [MONDAY.date()] * 3
    repository.store.write_logged_features(pa.table(logged, schema=schema), desk)
    told = repository.run("monitor", "run", "--source-type", "log")
    assert "Feature services computed: 1" in told
    found = MonitoringService(repository.opened()).get_feature_metrics(
        "shop", data_source_type="log", granularity="daily"
    )
    metrics = {each["feature_name"]: each for each in found}
    assert {each["feature_view_name"] for each in found} == {"quotes"}
    assert (metrics["price"]["mean"], metrics["price"]["null_count"]) == (2.0, 1)
    assert metrics["sector"]["histogram"]["values"][0] == {"value": "a", "count": 2}
