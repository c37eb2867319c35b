"""Each check has a batch that breaks it and one that just does not."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quality_rows import EVENING, good_rows, local, spoiled, technicals

from ingestion.catalog import Column, Dtype, FeatureGroup, Scanner
from ingestion.catalog.quality import Quality
from ingestion.lakehouse import arrow_schema
from ingestion.quality.check import CheckContext, CheckReport, check_rows
from ingestion.quality.engine import Engine
from ingestion.quality.figures import Figure
from ingestion.quality.history import History
from ingestion.quality.rules import (
    FAILED,
    Level,
    may_be_broken,
    part,
    present,
    row_rules,
    violations,
)
from tests.declared import GROUPS, LOCAL_1D, TV_TECHNICALS_1D

GROUP = TV_TECHNICALS_1D
BEFORE = History.none(GROUP)
DAY = timedelta(days=1)


def failed(report: CheckReport) -> dict[str, Level]:
    return {failure.check: failure.level for failure in report.failures}


def history(previous: pa.Table) -> CheckContext:
    return CheckContext(History(previous))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_rows_that_hold_everything_are_accepted_as_they_are(group: FeatureGroup):
    rows = good_rows(group, 60)
    previous = good_rows(group, 60, EVENING - DAY, seed=1)
    context = CheckContext(History(previous), EVENING, fewest=60, most=60)
    report = check_rows(group, rows, context)
    assert report.accepted.equals(rows)
    assert not report.quarantined.num_rows
    assert (report.failures, report.skipped, report.refused) == ((), (), False)
    assert report.verdict == "publish"


ROW_FAULTS = [
    (GROUP, {"RSI": {3: 100 + 2e-6}}, "RSI bounds"),
    (GROUP, {"RSI": {3: -2e-6}}, "RSI bounds"),
    (GROUP, {"Perf.W": {3: -100.1}}, "Perf.W bounds"),
    (GROUP, {"AO": {3: math.nan}}, "AO bounds"),
    (GROUP, {"CCI20": {3: math.inf}}, "CCI20 bounds"),
    (GROUP, {"Volatility.D": {3: -math.inf}}, "Volatility.D bounds"),
    (GROUP, {"Recommend.All": {3: 0.9}, "Recommend.MA": {3: 0.1}}, "Recommend.All identity"),
    (GROUP, {"timestamp": {3: 1}}, "timestamp identity"),
    (GROUP, {"symbol": {3: None}}, "symbol present"),
    (GROUP, {"created_timestamp": {3: None}}, "created_timestamp present"),
    (LOCAL_1D, {"returns_1d": {3: -1.1}}, "returns_1d bounds"),
    (LOCAL_1D, {"bar_timestamp": {3: EVENING}}, "bar_timestamp before event_timestamp"),
    (LOCAL_1D, {"bar_timestamp": {3: None}}, "bar_timestamp present"),
]


@pytest.mark.parametrize("group", [GROUP, LOCAL_1D], ids=lambda group: group.name)
def test_a_rows_fault_quarantines_the_row_and_publishes_the_others(group: FeatureGroup):
    """Each alone is seen; of one batch every third row has one, judged by its own check alone."""
    faults = [(changes, check) for of, changes, check in ROW_FAULTS if of == group]
    rows = good_rows(group, 300)
    for number, (changes, check) in enumerate(faults):
        alone = spoiled(good_rows(group, 30), changes)
        seen = {
            name: np.flatnonzero(mask).tolist() for name, mask in violations(group, alone).items()
        }
        assert seen == {check: [3]}
        assert any(may_be_broken(rule, alone) for rule in row_rules(group))
        own = {name: {3 * number: cells[3]} for name, cells in changes.items()}
        rows = spoiled(rows, own)
    report = check_rows(group, rows)
    assert failed(report) == {check: Level.ROW for _, check in faults}
    assert not report.refused
    assert report.quarantined[FAILED].to_pylist() == [[check] for _, check in faults]
    bad = np.arange(rows.num_rows) // 3 < len(faults)
    bad &= np.arange(rows.num_rows) % 3 == 0
    assert _keys(report.quarantined) == _keys(rows.filter(pa.array(bad)))
    assert _keys(report.accepted) == _keys(rows.filter(pa.array(~bad)))


def test_every_row_rule_of_the_catalog_has_a_fault_above_or_is_a_bound():
    tried = {(group.name, check) for group, _, check in ROW_FAULTS}
    for group in GROUPS:
        for rule in row_rules(group):
            shared = any((other.name, rule.check) in tried for other in GROUPS)
            assert (
                shared
                or rule.check.endswith((" bounds", " present"))
                or (rule.check == "key unique")
            )


@pytest.mark.parametrize(
    ("changes"),
    [
        {"RSI": {0: 100 + 0.9e-6, 1: -0.9e-6, 2: 100.0, 3: 0.0}},
        {"Perf.W": {0: -100 - 0.9e-6}, "AO": {1: -1e300, 2: 1e300}},
        {
            "Recommend.All": {0: 0.5 + 0.9e-6, 1: 0.5 - 0.9e-6},
            "Recommend.MA": {0: 0.5, 1: 0.5},
            "Recommend.Other": {0: 0.5, 1: 0.5},
        },
        {"Recommend.MA": {0: None}, "RSI": {1: None}, "bar_timestamp": {2: None}},
    ],
)
def test_what_is_inside_the_tolerance_or_null_passes(changes: dict[str, Any]):
    assert check_rows(GROUP, spoiled(technicals(30), changes)).failures == ()


def test_all_rows_of_a_repeated_key_are_quarantined():
    rows = spoiled(technicals(100), {"symbol": {7: "NASDAQ:S00003"}})
    report = check_rows(GROUP, rows)
    assert report.quarantined["symbol"].to_pylist() == ["NASDAQ:S00003"] * 2
    assert report.quarantined[FAILED].to_pylist() == [["key unique"]] * 2
    assert report.accepted.num_rows == 98


def test_a_row_with_several_faults_names_them_all():
    rows = spoiled(technicals(100), {"RSI": {4: 101.0}, "ADX": {4: -1.0, 5: -1.0}})
    failed_of = dict(
        zip(
            *(check_rows(GROUP, rows).quarantined[n].to_pylist() for n in ("symbol", FAILED)),
            strict=True,
        )
    )
    assert failed_of == {
        "NASDAQ:S00004": ["RSI bounds", "ADX bounds"],
        "NASDAQ:S00005": ["ADX bounds"],
    }


class TestBatch:
    """A batch's fault publishes nothing, and loses nothing."""

    def refused(self, report: CheckReport, check: str, rows: pa.Table) -> None:
        assert failed(report)[check] is Level.BATCH
        assert report.refused
        assert report.accepted.num_rows == 0
        assert sorted(map(str, report.quarantined["symbol"].to_pylist())) == sorted(
            map(str, rows["symbol"].to_pylist())
        )
        assert all(check in checks for checks in report.quarantined[FAILED].to_pylist())
        assert report.verdict == "refuse"

    def test_nulls(self):
        rows = technicals(40)
        some = dict.fromkeys(range(10))
        assert not check_rows(GROUP, spoiled(rows, {"RSI": some})).refused
        rows = spoiled(rows, {"RSI": some | {10: None}})
        report = check_rows(GROUP, rows)
        self.refused(report, "RSI null share", rows)
        (failure,) = [each for each in report.failures if each.check == "RSI null share"]
        assert failure.detail == "11 of 40"

    def test_rows_asked(self):
        rows = technicals(30)
        assert not check_rows(GROUP, rows, CheckContext(fewest=30, most=30)).refused
        report = check_rows(GROUP, rows, CheckContext(fewest=31))
        self.refused(report, "rows", rows)
        assert [str(each) for each in report.reasons] == ["rows: 30, at least 31"]
        self.refused(check_rows(GROUP, rows, CheckContext(most=29)), "rows", rows)

    def test_rows_asked_are_counted_without_the_quarantined(self):
        rows = spoiled(technicals(30), {"RSI": {3: 101.0}})
        assert not check_rows(GROUP, rows, CheckContext(fewest=29)).refused
        report = check_rows(GROUP, rows, CheckContext(fewest=30))
        self.refused(report, "rows", rows)
        assert ["RSI bounds", "rows"] in report.quarantined[FAILED].to_pylist()

    def test_quarantined_rows(self):
        rows = technicals(40)
        assert not check_rows(GROUP, spoiled(rows, {"RSI": {0: 101.0, 1: 101.0}})).refused
        rows = spoiled(rows, {"RSI": dict.fromkeys(range(3), 101.0)})
        self.refused(check_rows(GROUP, rows), "quarantined share", rows)

    def test_age(self):
        rows, limit = technicals(5), GROUP.max_age
        assert not check_rows(GROUP, rows, CheckContext(at=EVENING + limit)).refused
        late = CheckContext(at=EVENING + limit + timedelta(seconds=1))
        self.refused(check_rows(GROUP, rows, late), "age hours", rows)

    def test_values_lost_since_the_previous_row(self):
        context = history(technicals(40, at=EVENING - DAY))
        rows = spoiled(technicals(40), {"ADX": dict.fromkeys(range(4))})
        assert not check_rows(GROUP, rows, context).refused
        rows = spoiled(rows, {"ADX": {4: None}})
        self.refused(check_rows(GROUP, rows, context), "ADX lost share", rows)

    def test_a_value_that_was_null_before_is_not_lost(self):
        nulls = {"momentum_60d": dict.fromkeys(range(20))}
        before = spoiled(local(40, at=EVENING - DAY), nulls)
        assert not check_rows(LOCAL_1D, spoiled(local(40), nulls), history(before)).refused

    def test_another_unit(self):
        context = history(technicals(60, at=EVENING - DAY, seed=1))
        rows = technicals(60)
        assert not check_rows(GROUP, rows, context).refused
        fractions = {i: v / 100 for i, v in enumerate(rows["Stoch.K"].to_pylist())}
        rows = spoiled(rows, {"Stoch.K": fractions})
        report = check_rows(GROUP, rows, context)
        self.refused(report, "Stoch.K unit", rows)
        assert len(report.failures) == 1

    def test_not_a_number_is_outside_of_every_limit(self):
        assert not Figure("RSI unit", math.nan, 0.1, 10).is_inside

    @pytest.mark.parametrize(
        ("change", "check"),
        [
            (lambda rows: rows.drop_columns(["RSI"]), "columns"),
            (lambda rows: rows.select(list(reversed(rows.column_names))), "columns"),
            (lambda rows: rows.append_column("more", rows["RSI"]), "columns"),
            (lambda rows: _cast(rows, "RSI", pa.float32()), "RSI type"),
            (lambda rows: _cast(rows, "timestamp", pa.int32()), "timestamp type"),
            (lambda rows: _cast(rows, "symbol", pa.binary()), "symbol type"),
            (lambda rows: _cast(rows, "bar_timestamp", pa.int64()), "bar_timestamp type"),
        ],
    )
    def test_structure(self, change: Callable[[pa.Table], pa.Table], check: str):
        rows = change(technicals(5))
        self.refused(check_rows(GROUP, rows), check, rows)

    def test_a_type_that_pandas_does_not_tell_apart(self):
        rows = _cast(technicals(5), "symbol", pa.large_string())
        self.refused(check_rows(GROUP, rows), "symbol type", rows)

    def test_a_waived_check_refuses_nothing_and_is_told(self):
        report = check_rows(
            GROUP, technicals(5), CheckContext(fewest=9, waived=frozenset({"rows"}))
        )
        assert not report.refused
        assert report.accepted.num_rows == 5
        assert [(each.check, each.waived) for each in report.failures] == [("rows", True)]

    def test_a_waiver_publishes_no_row_that_breaks_a_rule(self):
        rows = spoiled(technicals(30), {"RSI": {3: 101.0}})
        context = CheckContext(waived=frozenset({"RSI bounds"}))
        assert check_rows(GROUP, rows, context).quarantined.num_rows == 1


def _cast(rows: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    index = rows.schema.get_field_index(name)
    return rows.set_column(index, name, rows[name].cast(kind))


CELLS = st.one_of(
    st.none(),
    st.sampled_from([0.0, 1.0, 1 + 1e-6, 1 + 2e-6, -1 - 2e-6, 100 + 2e-6, math.nan, math.inf]),
    st.floats(-2, 101),
)
FAULTS = st.dictionaries(
    st.sampled_from([column.name for column in GROUP.features]),
    st.dictionaries(st.integers(0, 7), CELLS, max_size=3),
    max_size=4,
)


@given(faults=FAULTS, repeated=st.booleans())
@settings(max_examples=200, deadline=None)
def test_accepted_and_quarantined_are_all_rows_and_none_twice(faults: Any, repeated: bool):
    rows = spoiled(technicals(8), {**faults, "symbol": {1: "NASDAQ:S00000"} if repeated else {}})
    broken = violations(GROUP, rows)
    accepted, quarantined = part(rows, broken)
    bad = np.logical_or.reduce([*broken.values(), np.zeros(8, dtype=bool)])
    kept = [row for row, is_bad in zip(_keys(rows), bad, strict=True) if not is_bad]
    out = [row for row, is_bad in zip(_keys(rows), bad, strict=True) if is_bad]
    assert (_keys(accepted), _keys(quarantined)) == (kept, out)
    assert all(quarantined[FAILED].to_pylist())
    assert violations(GROUP, accepted) == {}


@given(faults=FAULTS, repeated=st.booleans())
@settings(max_examples=8, deadline=None)
def test_great_expectations_and_the_vectorised_rules_judge_alike(faults: Any, repeated: bool):
    rows = spoiled(technicals(8), {**faults, "symbol": {1: "NASDAQ:S00000"} if repeated else {}})
    vectorised = {
        check: np.flatnonzero(mask).tolist() for check, mask in violations(GROUP, rows).items()
    }
    report = check_rows(GROUP, rows, engine=Engine())
    judged = {each.check: each for each in report.failures if each.level is Level.ROW}
    assert {check: each.rows for check, each in judged.items()} == {
        check: len(positions) for check, positions in vectorised.items()
    }
    symbols = rows["symbol"].to_pylist()
    for check, positions in vectorised.items():
        assert list(judged[check].symbols) == [symbols[position] for position in positions]
    assert sorted(_keys(report.accepted) + _keys(report.quarantined)) == sorted(_keys(rows))


@pytest.mark.parametrize("nulls", [0, 4, 5, 6, 20])
def test_great_expectations_is_asked_where_a_share_of_nulls_may_be_too_large(nulls: int):
    limit = 0.25
    rows = pa.table({"x": pa.array([None] * nulls + [1.0] * (20 - nulls), pa.float64())})
    rule = present("x", limit)
    broken = Engine().judge("x", rows, [], [rule])
    assert bool(broken) == (nulls > 5)
    assert may_be_broken(rule, rows) == (nulls >= 5)


EVERY_TYPE = FeatureGroup(
    name="every_type",
    meaning="one column of each type",
    source=Scanner(),
    ttl=DAY,
    features=(
        Column("count", Dtype.INT64, "…", low=-1.5, high=2**53 + 0.0),
        Column("any_count", Dtype.INT64, "…"),
        Column("is_open", Dtype.BOOL, "…", nullable=False),
        Column("phase", Dtype.STRING, "…", values=("rise", "fall")),
        Column("text", Dtype.STRING, "…"),
        Column("since", Dtype.TIMESTAMP, "…", nullable=False),
        Column("score", Dtype.DOUBLE, "…", low=0),
    ),
    quality=Quality(order=(("since", "event_timestamp"),), max_quarantined_share=1.0),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "count": st.sampled_from([None, -2, -1, 0, 2**53, 2**53 + 1, 2**62, -(2**62)]),
    "any_count": st.sampled_from([None, 2**63 - 1, -(2**63)]),
    "is_open": st.sampled_from([None, True, False]),
    "phase": st.sampled_from([None, "rise", "fall", "", "Rise", "NaN"]),
    "text": st.sampled_from([None, "", "x"]),
    "since": st.sampled_from([None, EVENING - DAY, EVENING, EVENING + DAY]),
    "score": st.sampled_from([None, 0.0, -1.0, math.nan, math.inf]),
    "symbol": st.sampled_from([None, "A:A", "A:B", "A:C"]),
}


def of_every_type(rows: list[dict[str, Any]]) -> pa.Table:
    instants: dict[str, Any] = {"event_timestamp": EVENING, "created_timestamp": EVENING}
    instants["timestamp"] = int(EVENING.timestamp())
    return pa.Table.from_pylist([row | instants for row in rows], arrow_schema(EVERY_TYPE))


@given(rows=st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=6))
@settings(max_examples=10, deadline=None)
def test_values_of_every_type_are_judged_by_the_declaration(rows: list[dict[str, Any]]):
    """The right answer in plain Python, against both ways to judge."""
    symbols = Counter(row["symbol"] for row in rows)
    wrong: dict[str, Callable[[dict[str, Any]], bool]] = {
        "count bounds": lambda row: row["count"] is not None and not -1 <= row["count"] <= 2**53,
        "is_open present": lambda row: row["is_open"] is None,
        "since present": lambda row: row["since"] is None,
        "symbol present": lambda row: row["symbol"] is None,
        "phase values": lambda row: row["phase"] not in (None, "rise", "fall"),
        "score bounds": lambda row: row["score"] is not None and not (0 <= row["score"] < math.inf),
        "since before event_timestamp": lambda row: (
            row["since"] is not None and row["since"] >= EVENING
        ),
        "key unique": lambda row: symbols[row["symbol"]] > 1,
    }
    right = {
        check: positions
        for check, is_wrong in wrong.items()
        if (positions := [n for n, row in enumerate(rows) if is_wrong(row)])
    }
    table = of_every_type(rows)
    fast = violations(EVERY_TYPE, table)
    assert {check: np.flatnonzero(mask).tolist() for check, mask in fast.items()} == right
    broken = Engine().judge("batch", table, row_rules(EVERY_TYPE))
    assert {each.check: sorted(each.positions.tolist()) for each in broken} == right
    assert all(each.level is Level.ROW for each in broken)


def _keys(rows: pa.Table) -> list[str]:
    """Every cell of a row as text: NaN does not equal itself."""
    names = [name for name in rows.column_names if name != FAILED]
    return [str(row) for row in rows.select(names).to_pylist()]


def test_checking_leaves_no_files_and_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("network")

    for folder in ("cwd", "home", "tmp"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    check_rows(GROUP, spoiled(technicals(30), {"RSI": {3: 101.0}}))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["cwd", "home", "tmp"]


def test_great_expectations_is_imported_by_no_module_but_when_it_judges():
    """It takes seconds, and commands that judge nothing must not pay for them."""
    script = (
        "import sys\n"
        "import ingestion.jobs.audit.validate\n"
        "import ingestion.jobs.ingest.feature_ingest\n"
        "import ingestion.quality.gate, ingestion.cli.checks\n"
        "sys.exit('great_expectations' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_batch_that_breaks_nothing_does_not_wait_for_the_import():
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from quality_rows import technicals\n"
        "from ingestion.quality.check import check_rows\n"
        "from tests.declared import TV_TECHNICALS_1D as GROUP\n"
        "assert not check_rows(GROUP, technicals(30)).failures\n"
        "sys.exit('great_expectations' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert check_rows(GROUP, spoiled(technicals(30), {"RSI": {3: 101.0}})).failures
    assert "great_expectations" in sys.modules


def test_recomputing_history_does_not_wait_for_the_import_of_pandas():
    script = (
        "import sys\nimport ingestion.jobs.compute.local_features\n"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_checking_prints_nothing(capfd: pytest.CaptureFixture[str]):
    check_rows(GROUP, spoiled(technicals(30), {"RSI": {3: 101.0}}))
    assert capfd.readouterr() == ("", "")


def test_the_newest_instant_of_the_batch_is_told():
    assert check_rows(GROUP, technicals(3)).newest == EVENING
    assert pc.max(technicals(3)["event_timestamp"]).as_py() == EVENING
