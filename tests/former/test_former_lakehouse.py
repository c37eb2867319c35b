"""A lakehouse that version 0.1.0 wrote is read, extended, merged, verified and served."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from digests import KEYS, current_rows, dataset_folders, described

from ingestion.catalog import Dataset
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import LocalDisk, list_parts, read_current, read_part
from ingestion.replay import ReplayScanner
from tests.declared import DATASETS
from tests.former.served import FeastCommand, Reads
from tests.processes import Command, Ended, Forge

HERE = Path(__file__).resolve().parent
RECORDED = json.loads((HERE / "recorded.json").read_text())
NOBODY = "http://127.0.0.1:9"
"""A scanner that does not answer: whoever asks none needs none."""
LAST = datetime.fromisoformat("2020-09-10T22:30Z")
"""When its last flow ran."""
FRIDAY = LAST + timedelta(hours=23)
SPAN = ("--from", "2020-06-08", "--to", "2020-09-10")
STORED = {dataset.storage: dataset for dataset in DATASETS}

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the archive contains; only to be copied."""
    folder = tmp_path_factory.mktemp("former")
    with tarfile.open(HERE / "lakehouse_0_1.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def project(unpacked: Path, tmp_path: Path) -> Path:
    """A project of today with the former data, moved here from where they were made."""
    project = make_workspace(tmp_path / "project")
    shutil.copytree(unpacked / "data", project / "data", dirs_exist_ok=True)
    return project


@pytest.fixture
def lakehouse(project: Path) -> Path:
    return project / "data" / "lakehouse"


@pytest.fixture
def run(project: Path, forge: Forge) -> Run:
    """Run a command, or a call, in the project, on the evening of its last flow."""

    def run(*words: object, at: datetime = LAST, scanner: str = NOBODY, ends: int = 0) -> Ended:
        environment = {"TVFEAST_PROJECT": str(project), "TVFEAST_NOW": at.isoformat()}
        call = words[0] if callable(words[0]) else Command(*words)
        ended = forge.start(call, environment | {"TVFEAST_SCANNER_URL": scanner}).wait()
        assert ended.code == ends, (words, ended)
        return ended

    return run


@pytest.fixture
def applied(project: Path, run: Run) -> Path:
    """The project, with its registry brought up to date: it names files by their whole path."""
    run(FeastCommand(project, ("apply",)))
    return project


def read(lakehouse: Path, dataset: Dataset) -> pa.Table:
    """Read a dataset's last versions as the project does."""
    parts = list_parts(LocalDisk(lakehouse), dataset)
    key = KEYS.get(dataset.storage)
    if key is None:
        return read_current(parts, dataset)
    rows = pa.concat_tables([read_part(part, dataset) for part in parts])
    return rows.sort_by([(name, "ascending") for name in key])


def assert_as_recorded(rows: pa.Table, folder: str) -> None:
    """Compare the columns that there were then; a later version may have more."""
    recorded = RECORDED["datasets"][folder]
    assert described(rows.select(list(recorded["columns"]))) == recorded


def parts(lakehouse: Path) -> set[str]:
    found = lakehouse.glob("[!_]*/**/date=*/*.parquet")
    return {path.relative_to(lakehouse).as_posix() for path in found}


def value(symbol: str, instant: str, name: str) -> float | None:
    """Return the recorded value of ``group:feature``; None if no row was valid at the instant."""
    group, _, feature = name.partition(":")
    valid = {(each["symbol"], each["at"], each["group"]): each["row"] for each in RECORDED["valid"]}
    row = valid[symbol, instant, group]
    return None if row is None else row[feature]


def test_the_archive_is_what_was_recorded(lakehouse: Path):
    """By a reader of its own, so that the others are tests of the project's readers."""
    assert list(dataset_folders(lakehouse)) == sorted(RECORDED["datasets"])
    for folder in RECORDED["datasets"]:
        assert_as_recorded(current_rows(lakehouse, folder), folder)


@pytest.mark.parametrize("folder", RECORDED["datasets"])
def test_every_dataset_reads_as_it_was_written(lakehouse: Path, folder: str):
    assert_as_recorded(read(lakehouse, STORED[folder]), folder)


def test_verify_finds_nothing_wrong(run: Run):
    run("verify")


def test_verify_finds_a_damaged_part(lakehouse: Path, run: Run):
    """So the test above is no accident of the move."""
    path = sorted(lakehouse.glob("features/local_1d/date=2020-08-31/*.parquet"))[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "date=2020-08-31" in run("verify", ends=3).out


@pytest.mark.usefixtures("applied")
def test_status_knows_the_former_flows(run: Run):
    run("materialize")  # what another project loaded is not this one's
    told = run("status").out
    assert "candidates.json" in told
    assert "NYSE 2020-07-10" in told  # accepted
    run("status", at=LAST + timedelta(days=9), ends=3)


def test_no_value_is_restated(lakehouse: Path, run: Run):
    before = parts(lakehouse)
    for words in (("local-features",), ("backfill", *SPAN)):
        run(*words)
        assert parts(lakehouse) == before


@pytest.mark.usefixtures("applied")
def test_a_flow_extends_it(
    lakehouse: Path,
    run: Run,
    scanner: ReplayScanner,
    tmp_path: Path,
    at: Callable[[datetime], None],
):
    at(FRIDAY)  # for the scanner
    symbols = sorted({each["symbol"] for each in current_rows(lakehouse, "symbols").to_pylist()})
    candidates = tmp_path / "candidates.json"
    candidates.write_text(json.dumps(symbols))
    before = {folder: current_rows(lakehouse, folder) for folder in dataset_folders(lakehouse)}
    run("flow-data", "--candidates", candidates, at=FRIDAY, scanner=scanner.url)
    for folder in ("ohlcv_1d", "features/local_1d", "features/tv_technicals_1d"):
        rows = read(lakehouse, STORED[folder])
        new = rows.filter(pa.array([at > LAST for at in rows["event_timestamp"].to_pylist()]))
        assert new["symbol"].to_pylist() == symbols, folder
    for folder, rows in before.items():
        stored = read(lakehouse, STORED[folder]).to_pylist()
        assert [row for row in rows.to_pylist() if row not in stored] == [], folder
    run("verify", at=FRIDAY)


def test_compact_merges_its_parts_and_changes_no_row(lakehouse: Path, run: Run):
    several = {
        folder
        for folder, count in Counter(path.rpartition("/")[0] for path in parts(lakehouse)).items()
        if count > 1
    }
    assert {folder.partition("/date=")[0] for folder in several} == {
        *("ohlcv_1d", "features/local_1d", "features/tv_technicals_1d")
    }
    run("compact", at=FRIDAY)
    dates = [path.rpartition("/")[0] for path in parts(lakehouse)]
    assert len(dates) == len(set(dates))
    for folder in RECORDED["datasets"]:
        assert_as_recorded(read(lakehouse, STORED[folder]), folder)
    run("verify", at=FRIDAY)


def test_upgrade_says_what_it_needs_and_that_it_can_go_back(project: Path, run: Run):
    """Moved, so its registry names other files; the parts are read as they are."""
    told = json.loads(run("upgrade", "--check", "--json", ends=3).out.splitlines()[0])
    (need,) = told["needs"]
    assert "`feast apply`" in need
    assert told["can_go_back"]
    assert all(each["parts"] == each["without_record"] > 0 for each in told["datasets"])
    assert {each["dataset"]: each["misfits"] + each["damaged"] for each in told["datasets"]} == {
        each["dataset"]: [] for each in told["datasets"]
    }
    run(FeastCommand(project, ("apply",)))
    assert "nothing is needed" in run("upgrade", "--check").out


def test_explain_tells_a_values_origin(run: Run):
    told = run("explain", "NYSE:XOM", "local_1d:RSI").out
    assert str(value("NYSE:XOM", LAST.isoformat(), "local_1d:RSI")) in told
    assert "date=2020-09-10/part-0.parquet" in told


def test_a_moved_lakehouse_is_served_after_feast_apply(project: Path, run: Run):
    """Its registry names the files by the paths that they had."""
    assert "`feast apply`" in run("select", ends=2).line
    run(FeastCommand(project, ("apply",)))
    assert "NASDAQ:AAPL" in run("select").out
    run("verify", "--online")


@pytest.mark.parametrize("settings_of", ["today", "then"])
def test_joins_and_online_reads_give_the_recorded_values(
    project: Path, unpacked: Path, run: Run, settings_of: str
):
    if settings_of == "then":  # with the former class paths
        repository = project / "feature_repo"
        shutil.copy(unpacked / "feature_store.yaml", repository / "feature_store.yaml")
    run(FeastCommand(project, ("apply",)))
    symbols = tuple(dict.fromkeys(each["symbol"] for each in RECORDED["valid"]))
    instants = tuple(dict.fromkeys(each["at"] for each in RECORDED["valid"]))
    read = run(Reads(project, symbols, instants)).json
    features = {
        f"{each['group']}:{name}" for each in RECORDED["valid"] for name in each["row"] or ()
    }
    for kind in ("joined", "online"):
        given: set[str] = set()
        for symbol, instant, values in read[kind]:
            for name, answer in values.items():
                assert answer == value(symbol, instant, name), (kind, symbol, instant, name)
            given |= {name for name, answer in values.items() if answer is not None}
        assert given == features
