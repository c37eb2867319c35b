"""Recomputed features pass the same gate, on every date of a backfill."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from feature_repo.catalog import LOCAL_1D
from ingestion.errors import GateRefused
from ingestion.jobs.import_bars import ImportRequest, import_bars
from ingestion.jobs.local_features import backfill
from ingestion.lakehouse import list_parts, read_part
from ingestion.quality.door import FAILED, QUARANTINE_FILE
from ingestion.quality.rules import Within
from ingestion.settings import Settings
from tests.conftest import SAMPLE

FIRST, LAST = date(2021, 4, 1), date(2021, 4, 9)


@pytest.fixture
def strict(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Bars, and a rule that real features break: the formulas keep to the catalog's."""
    import_bars(settings, ImportRequest(files=(SAMPLE / "bars.parquet",)))
    rules = (Within("RSI", 0, 75),)
    for engine in ("rows", "suite"):
        monkeypatch.setattr(f"ingestion.quality.{engine}.row_rules", lambda _: rules)
    return settings


def test_rows_that_break_a_rule_reach_no_part(strict: Settings):
    result = backfill(strict, FIRST, date(2021, 4, 8))
    kept = pa.concat_tables([read_part(p.path) for p in list_parts(strict.lakehouse, LOCAL_1D)])
    assert result.receipt is not None
    out = pq.read_table(result.receipt.parent / QUARANTINE_FILE)
    assert result.quarantined == out.num_rows > 0
    assert pc.max(kept["RSI"]).as_py() <= 75 < pc.min(out["RSI"]).as_py()
    assert {tuple(each) for each in out[FAILED].to_pylist()} == {("RSI bounds",)}
    assert result.rows_written == kept.num_rows


def test_a_newest_date_that_is_refused_is_kept_out_whole(strict: Settings):
    for_all = (Within("RSI", 0, 1),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingestion.quality.suite.row_rules", lambda _: for_all)
        with pytest.raises(GateRefused, match="rows: 0, at least 1"):
            backfill(strict, LAST, LAST)
    assert not list_parts(strict.lakehouse, LOCAL_1D)
    (path,) = (strict.lakehouse / "_runs").glob(f"*/{QUARANTINE_FILE}")
    assert pq.read_metadata(path).num_rows == 60
