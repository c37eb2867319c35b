"""A formula that computes something else under its old name is noticed, and `backfill` repairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner

from ingestion.base.errors import GateRefused
from ingestion.catalog import OHLCV_1D, Dataset
from ingestion.cli.commands import cli
from ingestion.jobs.audit.catalog_check import check_catalog
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.compute import publication as job
from ingestion.jobs.compute.definitions import changed_formulas, difference
from ingestion.jobs.compute.local_features import backfill, local_features, plan_backfill
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    append_part,
    append_parts,
    arrow_schema,
    list_parts,
    read_current,
)
from ingestion.project import Project

pytestmark = pytest.mark.usefixtures("no_power_cuts")

SYMBOLS = ("BINANCE:BTCUSDT", "BINANCE:ETHUSDT")
FIRST = datetime(2021, 3, 1, tzinfo=UTC)
DAYS = 12
NOW = FIRST + timedelta(days=DAYS + 60)  # history: Great Expectations is not imported
EVER = (date(1990, 1, 1), date(2100, 1, 1))

GROUP = """
from ingestion.catalog import FeatureGroup, FromBars, Quality

GROUP = FeatureGroup(
    name="local_1d",
    meaning="gaps and returns",
    source=FromBars(),
    ttl="12d",
    features=["gap", "returns_1d"],
)
"""
GAP = "ratio(bars.open, shift(bars.close, 1)) - 1"
FORMULA = '''
from ingestion.formulas import formula, ratio, shift, sma


@formula("gap", "open ÷ previous close − 1", {declared})
def gap(bars):
    """Return the open over the close of the bar before - 1."""
    return {body}
'''


def bars_of(days: range, created: datetime) -> pa.Table:
    rows = []
    for number, symbol in enumerate(SYMBOLS):
        for day in days:
            opened = FIRST + timedelta(days=day)
            price = 100.0 + number * 50 + (day * 7 % 11)
            rows.append(
                {
                    "timestamp": int(opened.timestamp()),
                    "symbol": symbol,
                    "open": price - 1,
                    "high": price + 2,
                    "low": price - 3,
                    "close": price,
                    "volume": 1000.0 + day,
                    "split_ratio": 1.0,
                    "event_timestamp": opened + timedelta(days=1),
                    "created_timestamp": created,
                    "source": "import;test",
                }
            )
    return pa.Table.from_pylist(rows, arrow_schema(OHLCV_1D))


class World:
    """A project with one formula of its own, and some days' bars of two symbols."""

    def __init__(self, folder: Path, at: Callable[[datetime], None]) -> None:
        self.folder, self._at, self._now = make_workspace(folder), at, NOW
        (self.folder / "feature_repo" / "groups").mkdir()
        (self.folder / "feature_repo" / "formulas").mkdir()
        (self.folder / "feature_repo" / "groups" / "local_1d.py").write_text(GROUP)
        (self.folder / "feature_repo" / "groups" / "services.py").touch()  # none
        self.declare(GAP)
        self.later()
        self.add(range(DAYS))

    @property
    def project(self) -> Project:
        """Read its files anew, as each command does."""
        return Project.from_environment(self.folder)

    def declare(self, body: str, declared: str = "look_back=1") -> None:
        text = FORMULA.format(body=body, declared=declared)
        (self.folder / "feature_repo" / "formulas" / "mine.py").write_text(text)

    def features(self, *names: str) -> None:
        text = GROUP.replace('["gap", "returns_1d"]', f"[{', '.join(names)}]")
        text = text.replace("import Feature", "import Column, Feature")
        (self.folder / "feature_repo" / "groups" / "local_1d.py").write_text(text)

    def add(self, days: range) -> None:
        bars = bars_of(days, self._now)
        for event in pc.unique(bars["event_timestamp"]):
            of_day = bars.filter(pc.equal(bars["event_timestamp"], event))
            append_part(self.project.lakehouse, OHLCV_1D, of_day, f"bars-{self._now:%H}")

    def later(self, hours: int = 1) -> None:
        self._now += timedelta(hours=hours)
        self._at(self._now)

    def stored(self) -> pa.Table:
        group = self.project.catalog.group("local_1d")
        return read_current(list_parts(self.project.lakehouse, group), group)

    def gaps(self) -> dict[tuple[str, int], float | None]:
        rows = self.stored().select(["symbol", "timestamp", "gap"]).to_pylist()
        return {(row["symbol"], row["timestamp"]): row["gap"] for row in rows}

    def receipt(self, path: Path | None) -> dict:
        assert path is not None
        return json.loads(path.read_text())

    def complaints(self) -> list[str]:
        return [str(each) for each in changed_formulas(self.project)]


@pytest.fixture
def world(tmp_path: Path, at: Callable[[datetime], None]) -> World:
    return World(tmp_path / "project", at)


@pytest.fixture
def computed(world: World) -> World:
    """After a first day's run."""
    local_features(world.project)
    world.later()
    return world


PERCENT = f"100 * ({GAP})"


def test_the_daily_run_refuses_and_names_the_formula(computed: World):
    before = computed.stored()
    computed.declare(PERCENT)
    computed.add(range(DAYS, DAYS + 1))
    with pytest.raises(GateRefused) as refused:
        local_features(computed.project)
    told = str(refused.value)
    assert told.startswith("the formula gap of local_1d computes something else than at 2021-05-12")
    assert "the values differ" in told
    assert "tvfeast backfill --from 2021-03-02 --to 2021-03-14" in told
    assert computed.stored().equals(before)


def test_a_run_without_new_bars_refuses_too(computed: World):
    computed.declare(PERCENT)
    with pytest.raises(GateRefused, match="gap of local_1d"):
        local_features(computed.project)


def test_the_commands_refuse_and_say_how_it_differs(
    computed: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TVFEAST_PROJECT", str(computed.folder))
    computed.declare(GAP, "look_back=2, warm_up=1")
    for command in (["local-features"], ["catalog", "check"]):
        result = CliRunner().invoke(cli, command)
        assert isinstance(result.exception, GateRefused)
        assert "look_back=1 became look_back=2" in f"{result.output}{result.exception}"
    result = CliRunner().invoke(cli, ["backfill", "--from", "1990-01-01", "--to", "2100-01-01"])
    assert result.exit_code == 0, result.output
    assert "formulas of local_1d:gap compute something else now" in result.output


def test_other_words_for_the_same_are_no_change(computed: World):
    before = computed.stored()
    path = computed.folder / "feature_repo" / "formulas" / "mine.py"
    computed.declare("(bars.open / shift(bars.close, 1)) - 1  # as before", "look_back=1")
    path.write_text(path.read_text().replace('"""Return', '"""It returns') + "\n\nX = 1\n")
    assert computed.complaints() == []
    assert local_features(computed.project).rows_written == 0
    assert computed.stored().equals(before)


def test_backfill_writes_the_rows_again_and_restates_nothing(computed: World):
    former, others = computed.gaps(), computed.stored().drop_columns(["gap", "created_timestamp"])
    computed.declare(PERCENT)
    planned = plan_backfill(computed.project, *EVER)
    assert planned.changed_columns == ("local_1d:gap",)
    assert planned.changed_rows == planned.rows["local_1d"] == 2 * DAYS
    result = backfill(computed.project, *EVER)
    # The first bar of a symbol has no gap, before and now.
    assert result.rows_written == result.rows_defined == 2 * (DAYS - 1)
    receipt = computed.receipt(result.receipt.path)
    assert set(receipt["reasons"].values()) == {"definition"}
    assert set(receipt["reasons"]) == {each["part"] for each in receipt["parts"]}
    for key, value in computed.gaps().items():
        then = former[key]
        assert value == (None if then is None else 100 * then)
    assert computed.stored().drop_columns(["gap", "created_timestamp"]).equals(others)
    assert computed.complaints() == []
    computed.later()
    computed.add(range(DAYS, DAYS + 1))
    computed.later()
    assert local_features(computed.project).rows_written == 2
    again = backfill(computed.project, *EVER)
    assert (again.rows_written, again.planned.changed_rows) == (0, 0)


def test_a_row_whose_bar_was_restated_too_is_a_restatement(computed: World):
    computed.declare(PERCENT)
    restated = bars_of(range(9, 10), NOW + timedelta(minutes=90)).slice(0, 1)
    close = pa.array([restated["high"][0].as_py()])
    at = restated.schema.get_field_index("close")
    append_part(
        computed.project.lakehouse, OHLCV_1D, restated.set_column(at, "close", close), "again"
    )
    result = backfill(computed.project, *EVER)
    # The returns of that bar and of the next one differ as well.
    assert result.rows_written - result.rows_defined == 2
    assert result.rows_written == 2 * (DAYS - 1)


def test_a_span_is_not_enough_and_is_remembered(computed: World):
    computed.declare(PERCENT)
    backfill(computed.project, date(2021, 3, 1), date(2021, 3, 10))
    assert len(computed.complaints()) == 1
    with pytest.raises(GateRefused):
        local_features(computed.project)
    computed.later()
    computed.declare(GAP)  # the former one again: some rows are by the other one now
    (complaint,) = computed.complaints()
    assert "at 2021-05-12T02" in complaint
    with pytest.raises(GateRefused):
        local_features(computed.project)
    backfill(computed.project, *EVER)
    assert computed.complaints() == []
    assert np.nanmax([value or 0 for value in computed.gaps().values()]) < 1


def test_a_killed_backfill_is_remembered(computed: World, monkeypatch: pytest.MonkeyPatch):
    written: list[Part] = []

    def dies(
        place: Lakehouse, dataset: Dataset, several: list[pa.Table], run_id: str
    ) -> list[Part]:
        parts = append_parts(place, dataset, several[: 5 - len(written)], run_id)
        written.extend(parts)
        if len(written) == 5:
            raise KeyboardInterrupt
        return parts

    computed.declare(PERCENT)
    with monkeypatch.context() as patch:
        patch.setattr(job, "append_parts", dies)
        patch.setattr("ingestion.runs.run.Run.__exit__", lambda *_: None)  # a kill, at once
        with pytest.raises(KeyboardInterrupt):
            backfill(computed.project, *EVER)
    computed.declare(GAP)
    assert len(computed.complaints()) == 1
    computed.declare(PERCENT)
    assert len(computed.complaints()) == 1
    computed.later()
    result = backfill(computed.project, *EVER)
    assert result.rows_written == 2 * (DAYS - 1) - 2 * 5
    assert computed.complaints() == []


def test_a_backfill_that_wrote_nothing_changes_nothing(
    computed: World, monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: object) -> Never:
        raise OSError(28, "No space left on device")

    computed.declare(PERCENT)
    with monkeypatch.context() as patch:
        patch.setattr(job, "append_parts", fails)
        with pytest.raises(OSError, match="No space"):
            backfill(computed.project, *EVER)
    computed.declare(GAP)
    assert computed.complaints() == []


def test_a_column_that_was_retired_meanwhile_is_remembered(computed: World):
    computed.features('Column("gap", retired=True)', '"returns_1d"')
    local_features(computed.project)
    computed.later()
    computed.declare(PERCENT)
    assert computed.complaints() == []
    computed.features('"gap"', '"returns_1d"')
    assert len(computed.complaints()) == 1


def test_rows_of_runs_that_did_not_say_are_accepted_once(computed: World):
    """As version 0.1.0 wrote them."""
    (path,) = computed.project.lakehouse_at.glob("_runs/*/local_features.json")
    receipt = computed.receipt(path)
    del receipt["definitions"]
    path.write_text(json.dumps(receipt))
    computed.declare(PERCENT)
    assert computed.complaints() == []
    local_features(computed.project)
    computed.later()
    computed.declare(GAP)
    assert len(computed.complaints()) == 1


def test_catalog_check_says_it(computed: World):
    assert check_catalog(computed.project).problems == ()
    computed.declare("ratio(bars.open, shift(bars.close, 1)) - 1.001")
    (problem,) = check_catalog(computed.project).problems
    assert problem.startswith("the formula gap of local_1d computes something else")


def test_explain_says_by_which_definition(computed: World):
    computed.declare(GAP, "look_back=1, high=9")
    request = ExplainRequest(SYMBOLS[0], "local_1d:gap", online=False)
    (story,) = explain(computed.project, request).stories
    assert [each.definition for each in story.versions] == ["high=9 is new"]
    computed.declare(PERCENT)
    backfill(computed.project, *EVER)
    (story,) = explain(computed.project, request).stories
    now, before = story.versions
    assert (now.definition, now.reason) == (None, "definition")
    assert (before.definition, before.reason) == ("the values differ", None)
    (other,) = explain(
        computed.project, ExplainRequest(SYMBOLS[0], "local_1d:returns_1d", online=False)
    ).stories
    assert {each.definition for each in other.versions} == {None}


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ("look_back=1; values=5a", "look_back=1; values=6b", "the values differ"),
        ("look_back=1; values=5a", "look_back=all; values=5a", "look_back=1 became look_back=all"),
        (
            "look_back=7d; unit=%; values=5a",
            "look_back=7d; values=6b",
            "unit=% is gone, and the values differ",
        ),
    ],
)
def test_a_difference_is_said_in_words(before: str, now: str, told: str):
    assert difference(before, now) == told
