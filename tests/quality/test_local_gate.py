"""Recomputed features pass the same gate, on every date of a backfill."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import GateRefused
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import list_parts, read_file
from ingestion.project import Project
from ingestion.quality.promotion import gate_verdicts
from ingestion.quality.rules import FAILED, within
from ingestion.runs.quarantine import QUARANTINE_FILE
from tests.conftest import SAMPLE
from tests.declared import LOCAL_1D

FIRST, LAST = date(2021, 4, 1), date(2021, 4, 9)


@pytest.fixture(scope="module")
def bars_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's bars of the last eight weeks: enough for a newest date and many before it."""
    since = datetime(2021, 2, 15, tzinfo=UTC).timestamp()
    bars = pq.read_table(SAMPLE / "bars.parquet", filters=[("timestamp", ">=", int(since))])
    path = tmp_path_factory.mktemp("bars") / "bars.parquet"
    pq.write_table(bars, path)
    return path


@pytest.fixture
def strict(settings: Project, bars_file: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Bars, and a rule that real features break: the formulas keep to the catalog's."""
    import_bars(settings, ImportRequest(files=(bars_file,)))
    rules = (within("RSI", 0, 75),)
    for engine in ("rules", "check"):
        monkeypatch.setattr(f"ingestion.quality.{engine}.row_rules", lambda _: rules)
    return settings


def test_rows_that_break_a_rule_reach_no_part(strict: Project):
    result = backfill(strict, FIRST, date(2021, 4, 8))
    kept = pa.concat_tables([read_file(p) for p in list_parts(strict.lakehouse, LOCAL_1D)])
    assert result.receipt is not None
    out = pq.read_table(result.receipt.path.parent / QUARANTINE_FILE)
    assert result.quarantined == out.num_rows > 0
    assert pc.max(kept["RSI"]).as_py() <= 75 < pc.min(out["RSI"]).as_py()
    assert {tuple(each) for each in out[FAILED].to_pylist()} == {("RSI bounds",)}
    assert result.rows_written == kept.num_rows


def test_a_newest_date_that_is_refused_is_kept_out_whole(strict: Project):
    for_all = (within("RSI", 0, 1),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingestion.quality.check.row_rules", lambda _: for_all)
        with pytest.raises(GateRefused, match="rows: 0, at least 1"):
            backfill(strict, LAST, LAST)
    assert not list_parts(strict.lakehouse, LOCAL_1D)
    (path,) = (strict.lakehouse_at / "_runs").glob(f"*/{QUARANTINE_FILE}")
    assert pq.read_metadata(path).num_rows == 60
    (path,) = (strict.lakehouse_at / "_runs").glob("*/backfill.json")
    assert json.loads(path.read_text())["outcome"] == "refused"


def test_a_refusal_says_which_earlier_dates_were_published_and_leaves_its_receipt(
    strict: Project,
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingestion.quality.check.row_rules", lambda _: (within("RSI", 0, 1),))
        with pytest.raises(GateRefused) as refused:
            local_features(strict)
    stored = pa.concat_tables([read_file(p) for p in list_parts(strict.lakehouse, LOCAL_1D)])
    told = str(refused.value)
    assert f"published before that: local_1d ({stored.num_rows:,} rows)" in told
    assert "nothing was published" not in told
    (path,) = (strict.lakehouse_at / "_runs").glob("*/local_features.json")
    assert str(path) in told
    receipt = json.loads(path.read_text())
    assert (receipt["outcome"], receipt["quality"][0]["verdict"]) == ("refused", "refuse")
    assert sum(part["rows"] for part in receipt["parts"]) == stored.num_rows
    # It has not finished: what it has not published is looked at again, and published then.
    result = local_features(strict)
    assert result.dates > 0
    assert {part.date for part in list_parts(strict.lakehouse, LOCAL_1D)} >= {LAST}
    done = json.loads(result.receipt.path.read_text()) if result.receipt else {}
    assert (done["outcome"], done["error"]) == ("done", None)


def test_a_receipt_has_the_verdict_on_each_group(settings: Project, bars_file: Path):
    folder = settings.feast_repository / "groups"
    folder.mkdir()
    (folder / "mine.py").write_text(
        "from ingestion.catalog import FeatureGroup, FromBars\n"
        "GROUP = FeatureGroup(name='mine', meaning='two', source=FromBars(), ttl='12d',\n"
        "                     features=['RSI', 'ADX'])\n"
    )
    import_bars(settings, ImportRequest(files=(bars_file,)))
    result = backfill(settings, LAST, LAST)
    assert result.receipt is not None
    quality = json.loads(result.receipt.path.read_text())["quality"]
    assert [(each["group"], each["verdict"], each["accepted"]) for each in quality] == [
        ("local_1d", "publish", 60),
        ("mine", "publish", 60),
    ]
    for name in ("local_1d", "mine"):
        group = settings.catalog.group(name)
        (verdict,) = gate_verdicts(settings, group, list_parts(settings.lakehouse, group)).values()
        assert verdict["group"] == name


def test_restated_rows_of_the_newest_date_are_judged_as_the_date_will_be(
    settings: Project, bars_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two of some 25 restated rows break a rule: too many of them, and few of the date's 60."""
    bars = pq.read_table(bars_file)
    import_bars(settings, ImportRequest(files=(bars_file,)))
    backfill(settings, LAST, LAST)
    (part,) = list_parts(settings.lakehouse, LOCAL_1D)
    stored = read_file(part).sort_by([("RSI", "descending")])
    assert stored.num_rows == 60
    chosen = stored["symbol"].take([0, 1, *range(34, 60)])
    limit = sum(stored["RSI"].take([1, 2]).to_pylist()) / 2
    _restate(settings, tmp_path, bars, chosen)
    rules = (within("RSI", 0, limit),)
    for engine in ("rules", "check"):
        monkeypatch.setattr(f"ingestion.quality.{engine}.row_rules", lambda _: rules)
    result = backfill(settings, LAST, LAST)
    assert result.quarantined == 2
    assert 18 <= result.rows_written <= 26  # a close at the day's low cannot be lower
    out = pq.read_table(settings.lakehouse_at / "_runs" / result.run_id / QUARANTINE_FILE)
    assert set(out["symbol"].to_pylist()) == set(stored["symbol"].take([0, 1]).to_pylist())


def _restate(settings: Project, folder: Path, bars: pa.Table, symbols: pa.ChunkedArray) -> None:
    """Import the bars that closed on the last date again, each a ten-thousandth lower."""
    day = (LAST - date(1970, 1, 1)).days * 86_400
    stamps = pc.field("timestamp")
    restated = bars.filter(
        pc.field("symbol").isin(symbols.combine_chunks())
        & (stamps >= day)
        & (stamps < day + 86_400)
    )
    close = pc.max_element_wise(pc.multiply(restated["close"], 0.9999), restated["low"])
    place = restated.column_names.index("close")
    pq.write_table(restated.set_column(place, "close", close), folder / "restated.parquet")
    import_bars(settings, ImportRequest(files=(folder / "restated.parquet",)))
