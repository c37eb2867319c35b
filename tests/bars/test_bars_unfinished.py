"""An import that died half way leaves two histories in one; nobody uses them before it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bars_tools import HEADER, Import, Write, day_of

from ingestion.bars import writing
from ingestion.base.errors import GateRefused, InputError
from ingestion.catalog import OHLCV_1D
from ingestion.jobs.audit.status import status
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.serve import targets
from ingestion.jobs.serve.targets import training_labels
from ingestion.lakehouse import append_part, append_parts, list_parts
from ingestion.project import Project
from tests.declared import LOCAL_1D

DAYS = [date(2021, 3, day) for day in (*range(1, 6), *range(8, 13), *range(15, 20))]
SPLIT_DAY = DAYS[-3]
ALL = (DAYS[0], DAYS[-1])
HALF_IMPORTED = r"import-bars.*AAPL\.csv"


class Killed(BaseException):
    """The run is gone, and nothing of it runs on."""


def kill(restate: Callable[[], object], after: int) -> None:
    """Let an import die when it has appended so many parts, one at a time."""
    appended = count()

    def dying(*arguments: object) -> object:
        if next(appended) == after:
            raise Killed
        return append_parts(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "PARTS_AT_ONCE", 1)
        patch.setattr(writing, "append_parts", dying)
        with pytest.raises(Killed):
            restate()


@pytest.fixture
def adjusted(write: Write) -> Path:
    """A vendor's prices, adjusted for a split of 4:1."""
    lines = [f"{day},25,26,24,25,1000\n" for day in DAYS]
    return write("AAPL.csv", "date,open,high,low,close,volume\n" + "".join(lines))


@pytest.fixture
def splits(write: Write) -> Path:
    return write("splits.csv", f"symbol,date,split_ratio\nNASDAQ:AAPL,{SPLIT_DAY},4\n")


@pytest.fixture
def restate(run: Import, adjusted: Path, splits: Path) -> Callable[[], object]:
    """Import prices without their splits; return the import that turns them back by those."""
    run(adjusted, adjusted=True, exchange="NASDAQ")
    return lambda: run(adjusted, adjusted=True, exchange="NASDAQ", splits=splits)


@pytest.fixture
def half(lakehouse: Project, restate: Callable[[], object]) -> Callable[[], object]:
    """Restate early dates only; return the import that died."""
    local_features(lakehouse)
    kill(restate, after=len(DAYS) // 2)
    return restate


def returns(settings: Project) -> set[float]:
    table = training_labels(settings, "fwd_return_2d", DAYS[0], DAYS[-4]).labels.table
    return set(table["fwd_return_2d"].to_pylist())


def test_no_features_are_computed_from_half_an_import(
    lakehouse: Project, half: Callable[[], object]
) -> None:
    before = list_parts(lakehouse.lakehouse, LOCAL_1D)
    for compute in (local_features, lambda settings: backfill(settings, *ALL)):
        with pytest.raises(GateRefused, match=HALF_IMPORTED):
            compute(lakehouse)
    assert list_parts(lakehouse.lakehouse, LOCAL_1D) == before
    half()
    for compute in (local_features, lambda settings: backfill(settings, *ALL)):
        assert compute(lakehouse).dates == len(DAYS)


def test_no_labels_are_made_of_half_an_import(
    lakehouse: Project, half: Callable[[], object]
) -> None:
    with pytest.raises(GateRefused, match=HALF_IMPORTED):
        returns(lakehouse)
    half()
    assert returns(lakehouse) == {0.0}


def test_status_names_half_an_import_until_it_is_repeated(
    lakehouse: Project, half: Callable[[], object]
) -> None:
    (problem,) = (each for each in status(lakehouse).problems if "import-bars" in each)
    (told,) = (lakehouse.lakehouse_at / "_runs").glob(f"{problem.split()[2][:-1]}/import_bars.json")
    assert json.loads(told.read_bytes())["verdict"] == "writing"
    half()
    assert not any("import-bars" in each for each in status(lakehouse).problems)


def test_a_repetition_that_dies_too_is_repeated_as_well(
    lakehouse: Project, half: Callable[[], object]
) -> None:
    kill(half, after=1)
    with pytest.raises(GateRefused, match="and 1 more"):
        local_features(lakehouse)
    half()
    assert local_features(lakehouse).dates == len(DAYS)


def test_an_import_of_other_files_does_not_stand_in_for_it(
    lakehouse: Project, half: Callable[[], object], run: Import, write: Write, adjusted: Path
) -> None:
    run(write("other.csv", HEADER + day_of("NYSE:A", str(DAYS[0]))))
    run(adjusted, adjusted=True, exchange="NASDAQ", restate=True)
    with pytest.raises(GateRefused, match=HALF_IMPORTED):
        local_features(lakehouse)


def test_nor_does_one_that_accepted_nothing(
    lakehouse: Project, half: Callable[[], object], adjusted: Path, splits: Path
) -> None:
    good = [path.read_text() for path in (adjusted, splits)]
    adjusted.write_text(good[0].replace("25", "-1"))
    splits.write_text(good[1].replace(",4", ",-4"))
    with pytest.raises(InputError, match="not one of"):
        half()
    with pytest.raises(GateRefused, match=HALF_IMPORTED):
        local_features(lakehouse)


def test_an_import_that_died_before_its_first_part_has_changed_nothing(
    lakehouse: Project, restate: Callable[[], object]
) -> None:
    kill(restate, after=0)
    assert local_features(lakehouse).dates == len(DAYS)
    assert returns(lakehouse) == {0.0}


def test_labels_of_bars_that_were_imported_meanwhile_are_not_given_out(
    lakehouse: Project, restate: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = targets.read_bars

    def beside(*arguments: object, **named: object) -> object:
        bars = read(*arguments, **named)  # type: ignore[arg-type]
        restate()
        return bars

    monkeypatch.setattr(targets, "read_bars", beside)
    with pytest.raises(GateRefused, match=r"meanwhile.*again"):
        returns(lakehouse)
    monkeypatch.setattr(targets, "read_bars", read)
    assert returns(lakehouse) == {0.0}


def test_nor_are_those_beside_the_first_part_of_an_import_that_had_begun_before(
    lakehouse: Project, restate: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(restate, after=0)
    receipts = (lakehouse.lakehouse_at / "_runs").glob("*/import_bars.json")
    (begun,) = (path for path in receipts if json.loads(path.read_bytes())["verdict"] == "writing")
    first, read = list_parts(lakehouse.lakehouse, OHLCV_1D)[0].path, targets.read_bars

    def beside(*arguments: object, **named: object) -> object:
        bars = read(*arguments, **named)  # type: ignore[arg-type]
        append_part(lakehouse.lakehouse, OHLCV_1D, pq.ParquetFile(first).read(), begun.parent.name)
        return bars

    monkeypatch.setattr(targets, "read_bars", beside)
    with pytest.raises(GateRefused, match=r"meanwhile.*again"):
        returns(lakehouse)


def test_a_file_is_the_same_however_it_is_named(
    lakehouse: Project,
    half: Callable[[], object],
    run: Import,
    adjusted: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(adjusted.parent)
    again = {"adjusted": True, "exchange": "NASDAQ", "splits": Path("splits.csv")}
    (adjusted.parent / "elsewhere").mkdir()
    other = adjusted.rename(adjusted.parent / "elsewhere" / adjusted.name)
    run(other, **again)
    with pytest.raises(GateRefused, match=HALF_IMPORTED):
        local_features(lakehouse)
    other.rename(adjusted)
    run(Path(adjusted.name), **again)
    assert local_features(lakehouse).dates == len(DAYS)


def test_receipts_from_before_they_told_a_verdict_are_of_finished_imports(
    lakehouse: Project, restate: Callable[[], object]
) -> None:
    for receipt in (lakehouse.lakehouse_at / "_runs").glob("*/import_bars.json"):
        receipt.write_text(receipt.read_text().replace('"verdict": "publish",', ""))
    assert local_features(lakehouse).bars == len(DAYS)
