"""A set is made again, bit for bit, after its lakehouse has changed in every way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.base.errors import GateRefused, InputError
from ingestion.catalog import UNIVERSE_MEMBERS
from ingestion.cli.commands import cli
from ingestion.datasets import Schedule
from ingestion.datasets.set_file import SetFile, read_provenance
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.serve.panel import PanelRequest, write_panel
from ingestion.jobs.serve.prove import Finding, prove
from ingestion.jobs.serve.reproduce import reproduce
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_rows, list_parts
from ingestion.project import Project
from tests.conftest import MONDAY, SAMPLE

OWN = ["BINANCE:BTCUSDT", "NASDAQ:AAPL", "NYSE:XOM"]
NOW = MONDAY + timedelta(minutes=5)
LATER = NOW + timedelta(days=3)
MARCH = Schedule(date(2021, 3, 1), date(2021, 3, 31))
GROUP = """
from ingestion.catalog import FeatureGroup, FromBars

OWN = FeatureGroup(
    name="own_1d", meaning="…", source=FromBars(), ttl="12d", features=["returns_1d", "gap"]
)
"""
KINDS = (
    "--target total_return_2d "
    "--target quantile_excess_fwd_return_3d,benchmark=NASDAQ:AAPL,classes=2 "
    "--target barrier_4d,profit=1sd,loss=1sd,volatility=10 "
    "--target excess_fwd_return_2d,benchmark=NASDAQ:AAPL "
    "--target scaled_fwd_return_2d,volatility=10 "
    "--target sign_total_return_3d"
)
TARGETS = (
    "total_return_2d",
    "quantile_excess_fwd_return_3d",
    "barrier_4d",
    "excess_fwd_return_2d",
    "scaled_fwd_return_2d",
    "sign_total_return_3d",
)
FORMULA = """
from ingestion.formulas import formula, ratio, shift


@formula("gap", "open ÷ previous close − 1", look_back=1, low=-1)
def gap(bars):
    return ratio(bars.open, shift(bars.close, 1)) - {constant}
"""


def bars(folder: Path, name: str, since: int, until: int, factor: float = 1.0) -> ImportRequest:
    """A file of the sample's bars of some days before Monday, their prices times a factor."""
    rows = pq.read_table(SAMPLE / "bars.parquet")
    opened = pc.field("timestamp")
    kept = (opened > MONDAY.timestamp() - since * 86_400) & (
        opened < MONDAY.timestamp() - until * 86_400
    )
    rows = rows.filter(kept & pc.field("symbol").isin(OWN))
    for price in ("open", "high", "low", "close"):
        place = rows.column_names.index(price)
        rows = rows.set_column(place, price, pc.multiply(rows[price], factor))
    pq.write_table(rows, folder / name)
    return ImportRequest((folder / name,), restate=True)


def paid(folder: Path, name: str, amount: float) -> ImportRequest:
    (folder / name).write_text(f"symbol,ex_date,amount\nNYSE:XOM,2021-03-09,{amount}\n")
    return ImportRequest(dividends=folder / name)


def set_formula(folder: Path, constant: str) -> None:
    place = folder / "feature_repo" / "formulas" / "own.py"
    place.parent.mkdir(exist_ok=True)
    place.write_text(FORMULA.format(constant=constant))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Path]]]:
    """A project, and the sets that were made of it before all that came later."""
    folder = make_workspace(tmp_path_factory.mktemp("reproduce") / "workspace")
    (folder / "feature_repo" / "groups").mkdir(exist_ok=True)
    (folder / "feature_repo" / "groups" / "own.py").write_text(GROUP)
    (folder / "feature_repo" / "groups.toml").write_text('groups = ["own_1d"]\n')
    set_formula(folder, "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_PROJECT", str(folder))
        patch.setenv("TVFEAST_NOW", NOW.isoformat())
        project = Project.from_environment()
        import_bars(project, bars(folder, "first.parquet", 80, 1))
        import_bars(project, paid(folder, "paid.csv", 0.87))
        local_features(project)
        append_rows(project.lakehouse, UNIVERSE_MEMBERS, members(NOW, 31), "members")
        yield folder, sets(project, folder)


def members(created: datetime, last: int) -> list[dict]:
    first = datetime(2021, 3, 1, tzinfo=UTC)
    return [
        {
            "universe": "one",
            "symbol": OWN[1],
            "valid_from": first,
            "valid_until": datetime(2021, 3, last, tzinfo=UTC),
            "event_timestamp": first,
            "created_timestamp": created,
            "source": "import",
        }
    ]


def sets(project: Project, folder: Path) -> dict[str, Path]:
    requests = {
        "symbols": {"symbols": OWN},
        "all": {},
        "members": {"universe": "one"},
        "evenings": {
            "symbols": OWN,
            "schedule": Schedule(MARCH.first, MARCH.last, "week", datetime(2021, 1, 1, 21).time()),
        },
    }
    wanted = {"features": ["gap", "own_1d:returns_1d"], "schedule": MARCH}
    found = {}
    for name, arguments in requests.items():
        request = PanelRequest(**wanted | arguments, out=folder / f"{name}.parquet")
        found[name] = write_panel(project, request).out
    labels = folder / "labels.csv"
    labels.write_text(f"symbol,event_timestamp,y\n{OWN[1]},2021-03-09T21:30Z,1\n")
    more = ["--feature", "gap", "--feature", "own_1d:returns_1d", "--out"]
    for name, words in (
        ("targets", "--target fwd_return_2d --from 2021-03-01 --to 2021-03-19 --ages"),
        ("kinds", f"{KINDS} --from 2021-03-01 --to 2021-03-19"),
        ("labels", f"--labels {labels}"),
    ):
        found[name] = folder / f"{name}.parquet"
        result = CliRunner().invoke(cli, ["training-set", *words.split(), *more, str(found[name])])
        assert result.exit_code == 0, result.output
    return found


@pytest.fixture
def project(made: tuple[Path, object], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TVFEAST_PROJECT", str(made[0]))
    monkeypatch.setenv("TVFEAST_NOW", LATER.isoformat())
    return Project.from_environment()


def rows_of(place: Path) -> pa.Table:
    return pq.read_table(place).replace_schema_metadata(None)


def test_a_set_comes_again_after_restatements_backfills_compaction_and_more_history(
    project: Project, made: tuple[Path, dict[str, Path]], tmp_path: Path
):
    folder, of_sets = made
    # All prices are restated, features computed again, months added before, and a member leaves.
    import_bars(project, bars(folder, "restated.parquet", 60, 1, factor=1.5))
    import_bars(project, bars(folder, "before.parquet", 150, 80))
    import_bars(project, paid(folder, "restated.csv", 8.7))
    backfill(project, date(2020, 11, 1), date(2021, 4, 30))
    append_rows(project.lakehouse, UNIVERSE_MEMBERS, members(LATER, 5), "left")
    before = len(list_parts(project.lakehouse, project.catalog.group("own_1d")))
    compact(project)
    assert len(list_parts(project.lakehouse, project.catalog.group("own_1d"))) < before
    for name, place in of_sets.items():
        again = reproduce(project, place, tmp_path / f"{name}.parquet")
        assert again.passed, again
        assert rows_of(again.out).equals(rows_of(place))
        assert prove(project, place).passed
    # Without its instant it would be another one.
    request = PanelRequest(
        MARCH, tmp_path / "now.parquet", features=["gap", "own_1d:returns_1d"], symbols=OWN
    )
    assert not rows_of(write_panel(project, request).out).equals(rows_of(of_sets["symbols"]))


def test_cells_that_cannot_come_again_are_listed_with_the_reason(
    project: Project, made: tuple[Path, dict[str, Path]], tmp_path: Path
):
    folder, of_sets = made
    set_formula(folder, "0.5")
    # Somebody removes a day, as no command of this project does.
    group = project.catalog.group("own_1d")
    day = project.lakehouse_at / group.storage / "date=2021-03-10"
    kept = {file: file.read_bytes() for file in day.iterdir()}
    for file in kept:
        file.unlink()
    try:
        again = reproduce(
            Project.from_environment(), of_sets["symbols"], tmp_path / "again.parquet"
        )
        assert not again.passed
        assert set(again.cells) == {"gap", "returns_1d"}
        told = " ".join(again.reasons)
        assert "declared otherwise since: gap" in told
        assert "no row near the decision has that value" in told
        command = ["reproduce", str(of_sets["symbols"]), "--out", str(tmp_path / "again.parquet")]
        result = CliRunner().invoke(cli, command)
        assert isinstance(result.exception, GateRefused)
        assert "other cells: gap (" in result.stdout
    finally:
        for file, content in kept.items():
            file.write_bytes(content)
        set_formula(folder, "1")


def planted(place: Path, folder: Path, column: str, value: object) -> Path:
    """A set with another value in the first row that has one, and with fingerprints that fit."""
    rows = rows_of(place)
    values = rows[column].to_pylist()
    values[next(n for n, each in enumerate(values) if each is not None)] = value
    at = rows.column_names.index(column)
    changed = rows.set_column(at, column, pa.array(values, rows[column].type))
    with SetFile(folder / "planted.parquet", changed.schema, "planted") as file:
        file.write(changed)
        file.record(**read_provenance(place))
    return file.place


def test_each_kind_of_label_has_its_span_and_is_named_where_it_is_another_one(
    project: Project, made: tuple[Path, dict[str, Path]], tmp_path: Path
):
    place = made[1]["kinds"]
    labels = read_provenance(place)["labels"]
    assert labels["target"].split() == [each for each in KINDS.split() if each != "--target"]
    ends = [f"{name}__end_timestamp" for name in TARGETS]
    assert labels["spans"] == {
        name: ["label_start_timestamp", end] for name, end in zip(TARGETS, ends, strict=True)
    }
    rows = rows_of(place).to_pylist()
    assert {row["symbol"] for row in rows if row[TARGETS[1]] is None} == {"BINANCE:BTCUSDT"}
    assert {row[TARGETS[2]] for row in rows} >= {-1, 1}
    assert {*read_provenance(place)["parts"]} >= {"ohlcv_1d", "dividends"}
    decided = rows[0]["event_timestamp"]
    assert {row[TARGETS[5]] for row in rows} >= {-1, 1}
    for column, value, check in (
        (TARGETS[1], 7, "targets"),
        (TARGETS[4], 7.0, "targets"),
        (ends[2], decided, "labels"),
    ):
        proof = prove(project, planted(place, tmp_path, column, value))
        faults = {each.name: each for each in proof.checks if each.finding is Finding.FAULT}
        named = column if check == "targets" else rows[0]["symbol"]
        assert any(named in each for each in faults[check].examples)


def test_a_set_is_not_written_over_itself_nor_made_from_a_file_that_says_nothing(
    project: Project, made: tuple[Path, dict[str, Path]]
):
    place = made[1]["symbols"]
    with pytest.raises(InputError, match="is the set itself"):
        reproduce(project, place, place)
    with pytest.raises(InputError, match="does not say where its rows come from"):
        reproduce(project, SAMPLE / "bars.parquet")
