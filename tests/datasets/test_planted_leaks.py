"""Seven leaks are planted in sets and features: each is named; none is named on the clean twin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.base.errors import GateRefused
from ingestion.catalog import UNIVERSE_MEMBERS
from ingestion.cli.commands import cli
from ingestion.datasets import Schedule
from ingestion.datasets.set_file import KEY, SetFile, read_provenance
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.serve.panel import PanelRequest, write_panel
from ingestion.jobs.serve.prove import Finding, Proof, prove
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_part, append_rows, list_parts, read_current
from ingestion.project import Project
from tests.conftest import MONDAY, SAMPLE

OWN = ["BINANCE:BTCUSDT", "NASDAQ:AAPL", "NYSE:XOM"]
NOW = MONDAY + timedelta(minutes=5)
MARCH = Schedule(date(2021, 3, 1), date(2021, 3, 31))
GROUPS = """
from ingestion.catalog import FeatureGroup, FromBars

def group(name, *formulas):
    return FeatureGroup(
        name=name, meaning="…", source=FromBars(), ttl="12d", features=list(formulas)
    )

CLEAN, PEEK, SCALED = (
    group("clean_1d", "gap", "returns_1d"), group("peek_1d", "peek"), group("scaled_1d", "scaled")
)
"""
FORMULAS = """
import numpy as np
from ingestion.formulas import formula, ratio, shift


@formula("gap", "open ÷ previous close − 1", look_back=1, low=-1)
def gap(bars):
    return ratio(bars.open, shift(bars.close, 1)) - 1


@formula("peek", "the next return", look_back=1)
def peek(bars):
    following = np.full_like(bars.close, np.nan)
    following[:-1] = bars.close[1:]
    return ratio(following, bars.close) - 1


@formula("scaled", "close by the mean of all history", look_back=1)
def scaled(bars):
    return bars.close - np.nanmean(bars.close, axis=0)
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with clean and leaking features of some months."""
    folder = make_workspace(tmp_path_factory.mktemp("planted") / "workspace")
    for name, content in (("groups/own.py", GROUPS), ("formulas/own.py", FORMULAS)):
        place = folder / "feature_repo" / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(content)
    (folder / "feature_repo" / "groups.toml").write_text(
        'groups = ["clean_1d", "peek_1d", "scaled_1d"]\n'
    )
    bars = pq.read_table(SAMPLE / "bars.parquet")
    opened = pc.field("timestamp")
    recent = (opened > MONDAY.timestamp() - 90 * 86_400) & (opened < MONDAY.timestamp() - 86_400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_PROJECT", str(folder))
        patch.setenv("TVFEAST_NOW", (NOW - timedelta(days=1)).isoformat())
        pq.write_table(bars.filter(recent & pc.field("symbol").isin(OWN)), folder / "bars.parquet")
        project = Project.from_environment()
        import_bars(project, ImportRequest((folder / "bars.parquet",)))
        local_features(project)
        members = [
            {
                "universe": "two",
                "symbol": symbol,
                "valid_from": datetime(2021, 3, first, tzinfo=UTC),
                "valid_until": datetime(2021, 3, last, tzinfo=UTC),
                "event_timestamp": datetime(2021, 3, first, tzinfo=UTC),
                "created_timestamp": datetime(2021, 3, first, tzinfo=UTC),
                "source": "import",
            }
            for symbol, first, last in ((OWN[1], 1, 17), (OWN[2], 15, 31))
        ]
        append_rows(project.lakehouse, UNIVERSE_MEMBERS, members, "members")
        yield folder


@pytest.fixture
def project(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TVFEAST_PROJECT", str(workspace))
    monkeypatch.setenv("TVFEAST_NOW", NOW.isoformat())
    return Project.from_environment()


def panel_of(project: Project, out: Path, *features: str, **arguments: object) -> Path:
    wanted = {"features": features or ("gap", "clean_1d:returns_1d"), "symbols": OWN} | arguments
    return write_panel(project, PanelRequest(MARCH, out, **wanted)).out


def forged(place: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """Write a set again with other rows, and with fingerprints that are right for them."""
    told = read_provenance(place)
    rows = change(pq.read_table(place).replace_schema_metadata(None))
    with SetFile(place.with_name("planted.parquet"), rows.schema, "forged") as file:
        file.write(rows)
        file.record(**told | {"rows": rows.num_rows})
    return file.place


def faults(proof: Proof) -> dict[str, str]:
    """What each check names, with its examples."""
    found = (each for each in proof.checks if each.finding is Finding.FAULT)
    return {each.name: " ".join([each.told, *each.examples]) for each in found}


def with_cell(column: str, row: int, value: object) -> Callable[[pa.Table], pa.Table]:
    def change(rows: pa.Table) -> pa.Table:
        cells = rows[column].to_pylist()
        cells[row] = value
        place = rows.column_names.index(column)
        return rows.set_column(place, column, pa.array(cells, rows[column].type))

    return change


@pytest.fixture
def clean(project: Project, tmp_path: Path) -> Path:
    return panel_of(project, tmp_path / "panel.parquet")


@pytest.fixture(scope="module")
def labelled(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set of forward returns."""
    out = tmp_path_factory.mktemp("labelled") / "set.parquet"
    words = f"training-set --target fwd_return_2d --from 2021-03-01 --to 2021-03-26 --out {out}"
    environment = {"TVFEAST_PROJECT": str(workspace), "TVFEAST_NOW": NOW.isoformat()}
    more = ["--feature", "gap", "--feature", "clean_1d:returns_1d", "--universe", "two"]
    result = CliRunner().invoke(cli, [*words.split(), *more], env=environment)
    assert result.exit_code == 0, result.output
    return out


def test_nothing_is_named_on_the_clean_twins(project: Project, clean: Path, labelled: Path):
    of_members = panel_of(project, clean.with_name("members.parquet"), universe="two", symbols=None)
    for place in (clean, labelled, of_members):
        proof = prove(project, place)
        assert faults(proof) == {}
        assert proof.passed
        sound = {each.name for each in proof.checks if each.finding is Finding.SOUND}
        assert {"fingerprint", "provenance", "cells", "definitions", "lookahead"} <= sound
        if place == labelled:
            assert {"labels", "targets", "members"} <= sound
        if place == of_members:
            assert {"members", "all members"} <= sound
    assert faults(prove(project, forged(clean, lambda rows: rows))) == {}


def test_a_label_that_is_not_shifted(project: Project, labelled: Path):
    def unshifted(rows: pa.Table) -> pa.Table:
        for name in ("label_start_timestamp", "label_end_timestamp"):
            times = pc.subtract(rows[name], pa.scalar(timedelta(days=7)))
            rows = rows.set_column(rows.column_names.index(name), name, times)
        return rows

    named = faults(prove(project, forged(labelled, unshifted)))
    assert "22 of 22 labels begin before their decision" in named["labels"]


def test_a_return_that_is_shifted_by_a_bar_or_misses_a_split(project: Project, labelled: Path):
    target = pq.read_table(labelled)["fwd_return_2d"].to_pylist()
    for row, value in ((3, target[4]), (5, (1 + target[5]) / 4 - 1)):
        named = faults(prove(project, forged(labelled, with_cell("fwd_return_2d", row, value))))
        assert [*named] == ["targets"]
        assert repr(value) in named["targets"]


def test_a_label_that_is_there_twice_in_place_of_another(project: Project, labelled: Path):
    def doubled(rows: pa.Table) -> pa.Table:
        return pa.concat_tables([rows.slice(0, 1), rows.slice(0, 1), rows.slice(2)])

    named = faults(prove(project, forged(labelled, doubled)))
    assert "the set has none" in named["targets"]
    # Another order is no other label.
    reordered = forged(labelled, lambda rows: rows.take(pa.array(range(rows.num_rows)[::-1])))
    assert faults(prove(project, reordered)) == {}


def test_a_value_of_the_bar_that_was_open(project: Project, clean: Path):
    # Sorted by decision and symbol: three symbols later, or the day after, is the next bar.
    rows = pq.read_table(clean).filter(pc.field("symbol") == OWN[2])
    value = rows["gap"][9].as_py()
    row = (
        pq.read_table(clean)["event_timestamp"]
        .to_pylist()
        .index(rows["event_timestamp"][8].as_py())
    )
    names = pq.read_table(clean)["symbol"].to_pylist()
    row = next(n for n in range(row, len(names)) if names[n] == OWN[2])
    named = faults(prove(project, forged(clean, with_cell("gap", row, value))))
    assert [*named] == ["cells"]
    told = rows["event_timestamp"][9].as_py().isoformat()
    assert f"it is of the row of {told}" in named["cells"]
    assert "after the decision" in named["cells"]


def test_a_row_that_was_restated_after_known_at(project: Project, clean: Path):
    group = project.catalog.group("clean_1d")
    day = date(2021, 3, 10)
    rows = read_current(list_parts(project.lakehouse, group, day, day), group)
    created = pa.array([NOW + timedelta(hours=1)] * rows.num_rows, pa.timestamp("us", "UTC"))
    restated = rows.set_column(
        rows.column_names.index("created_timestamp"), "created_timestamp", created
    ).set_column(rows.column_names.index("gap"), "gap", pa.array([0.123] * rows.num_rows))
    append_part(project.lakehouse, group, restated, "restated")
    assert faults(prove(project, clean)) == {}
    times = pq.read_table(clean).select(["symbol", "event_timestamp"]).to_pylist()
    row = next(
        n
        for n, each in enumerate(times)
        if each["event_timestamp"].date() == day and each["symbol"] == OWN[1]
    )
    named = faults(prove(project, forged(clean, with_cell("gap", row, 0.123))))
    assert [*named] == ["cells"]
    assert f"created at {(NOW + timedelta(hours=1)).isoformat()}: after known_at" in named["cells"]


def test_today_s_members_at_all_decisions(project: Project, tmp_path: Path):
    dated = panel_of(project, tmp_path / "dated.parquet", universe="two", symbols=None)
    today = panel_of(project, tmp_path / "today.parquet", symbols=[OWN[2]])
    told = read_provenance(dated)
    rows = pq.read_table(today).replace_schema_metadata(None)
    with SetFile(tmp_path / "planted.parquet", rows.schema, "forged") as file:
        file.write(rows)
        file.record(**told | {"rows": rows.num_rows})
    named = faults(prove(project, file.place))
    assert {*named} == {"members", "all members"}
    assert f"{OWN[2]} at 2021-03-01" in named["members"]
    # The other half: who has left is missing, and nobody is there who may not.
    survivors = forged(dated, lambda rows: rows.filter(pc.field("symbol") == OWN[2]))
    assert {*faults(prove(project, survivors))} == {"all members"}


def test_a_row_that_is_there_twice_in_place_of_a_member_who_lost(project: Project, clean: Path):
    def doubled(rows: pa.Table) -> pa.Table:
        return pa.concat_tables([rows.slice(0, 1), rows.slice(0, 1), rows.slice(2)])

    assert {*faults(prove(project, forged(clean, doubled)))} == {"all members"}
    dropped = forged(clean, lambda rows: rows.filter(pc.field("symbol") != OWN[1]))
    assert {*faults(prove(project, dropped))} == {"all members"}


def test_a_scaler_that_was_fitted_on_the_whole_set(project: Project, clean: Path, labelled: Path):
    def scaled(rows: pa.Table) -> pa.Array:
        cells = rows["gap"]
        spread = pc.stddev(cells).as_py()
        return pc.divide(pc.subtract(cells, pc.mean(cells).as_py()), spread)

    def in_place(rows: pa.Table) -> pa.Table:
        return rows.set_column(rows.column_names.index("gap"), "gap", scaled(rows))

    for place in (clean, labelled):
        assert {*faults(prove(project, forged(place, in_place)))} == {"cells"}
        beside = forged(place, lambda rows: rows.append_column("z_gap", scaled(rows)))
        named = faults(prove(project, beside))
        assert [*named] == ["columns"]
        assert "z_gap" in named["columns"]


@pytest.fixture(scope="module")
def of_kinds(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set of several kinds of labels, of a universe's members."""
    out = tmp_path_factory.mktemp("kinds") / "set.parquet"
    words = (
        f"training-set --from 2021-03-01 --to 2021-03-26 --feature gap --universe two --out {out}"
    )
    words += "".join(
        f" --target {each}"
        for each in ("fwd_return_1d", "sign_fwd_return_3d", "barrier_3d,profit=2%,loss=2%")
    )
    environment = {"TVFEAST_PROJECT": str(workspace), "TVFEAST_NOW": NOW.isoformat()}
    result = CliRunner().invoke(cli, words.split(), env=environment)
    assert result.exit_code == 0, result.output
    return out


def test_each_kind_of_label_of_a_set_is_made_again(project: Project, of_kinds: Path):
    assert faults(prove(project, of_kinds)) == {}
    told = read_provenance(of_kinds)["labels"]
    rows = pq.read_table(of_kinds)
    assert len(told["spans"]) == 3
    for target, (_, end) in told["spans"].items():
        cells = rows[target].to_pylist()
        row = next(n for n, each in enumerate(cells) if each is not None)
        other = next(each for each in [*cells, 0.125] if each not in (None, cells[row]))
        named = faults(prove(project, forged(of_kinds, with_cell(target, row, other))))
        assert [*named] == ["targets"], target
        assert target in named["targets"]
        decided = rows["event_timestamp"][row].as_py()
        ended = forged(of_kinds, with_cell(end, row, decided))
        assert {*faults(prove(project, ended))} == {"labels", "targets"}, target


@pytest.mark.parametrize("feature", ["peek", "scaled"])
def test_a_formula_that_uses_what_came_later(project: Project, tmp_path: Path, feature: str):
    named = faults(prove(project, panel_of(project, tmp_path / "panel.parquet", feature)))
    assert [*named] == ["lookahead"]
    assert named["lookahead"].startswith(f"1 formula looks past the bar {feature} of ")


def test_a_changed_cell_breaks_the_fingerprint_with_no_lakehouse_at_hand(
    project: Project, clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TVFEAST_LAKEHOUSE", str(tmp_path / "elsewhere"))
    alone = Project.from_environment()
    proof = prove(alone, clean)
    assert proof.passed
    assert {each.name: each.finding for each in proof.checks}["cells"] is Finding.NOT_CHECKED
    rows = pq.read_table(clean)
    changed = with_cell("gap", 7, np.nextafter(rows["gap"][7].as_py(), 1.0))(rows)
    told = pq.read_metadata(clean).metadata[KEY.encode()]
    pq.write_table(changed.replace_schema_metadata({KEY: told}), clean)
    assert [*faults(prove(alone, clean))] == ["fingerprint"]


def test_the_command_names_a_fault_and_exits_with_3(project: Project, clean: Path):
    sound = CliRunner().invoke(cli, ["prove", str(clean)])
    assert sound.exit_code == 0, sound.output
    planted = forged(clean, with_cell("gap", 0, 0.5))
    result = CliRunner().invoke(cli, ["prove", str(planted)])
    assert isinstance(result.exception, GateRefused)
    assert "no row near the decision has that value" in result.stdout
