from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from ingestion.cli.catalog import catalog_text
from ingestion.cli.schema_registry import registry_markdown
from ingestion.formulas import SHIPPED
from ingestion.jobs.audit.catalog_check import list_catalog
from ingestion.lakehouse import arrow_schema
from ingestion.project import Project
from tests.declared import GROUPS, TV_TECHNICALS_1D

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")

CONTRACT = pa.schema(
    [
        ("timestamp", pa.int64()),
        ("symbol", pa.string()),
        ("Recommend.All", pa.float64()),
        ("Recommend.MA", pa.float64()),
        ("Recommend.Other", pa.float64()),
        ("RSI", pa.float64()),
        ("ADX", pa.float64()),
        ("AO", pa.float64()),
        ("CCI20", pa.float64()),
        ("Stoch.K", pa.float64()),
        ("Stoch.D", pa.float64()),
        ("MACD.macd", pa.float64()),
        ("MACD.signal", pa.float64()),
        ("Volatility.D", pa.float64()),
        ("Perf.W", pa.float64()),
        ("Perf.1M", pa.float64()),
        ("event_timestamp", UTC_MICROSECONDS),
        ("created_timestamp", UTC_MICROSECONDS),
        ("bar_timestamp", UTC_MICROSECONDS),
        ("bar_update_timestamp", UTC_MICROSECONDS),
    ]
)


def test_the_arrow_schema_is_the_contract_column_for_column():
    assert arrow_schema(TV_TECHNICALS_1D) == CONTRACT


def test_every_feature_is_asked_of_the_scanner_under_its_own_name():
    assert [c.scanner for c in TV_TECHNICALS_1D.features] == CONTRACT.names[2:16]
    assert [c.scanner for c in TV_TECHNICALS_1D.scanned[14:]] == ["time", "last_bar_update_time"]


def test_every_column_of_every_group_says_what_it_means():
    for group in GROUPS:
        assert group.meaning
        assert all(column.meaning for column in group.columns)
        assert len({column.name for column in group.columns}) == len(group.columns)


def test_feature_names_avoid_what_feast_reserves():
    for group in GROUPS:
        for column in group.served:
            assert not set(column.name) & {":", "@"}
            assert "__" not in column.name


def test_the_schema_registry_document_is_fresh():
    written = Path(__file__).parent.parent / "docs" / "lakehouse_schema_registry.md"
    assert written.read_text() == registry_markdown(), "run `make docs`"


def test_importing_the_catalog_imports_neither_feast_nor_arrow():
    script = (
        "import ingestion.catalog, sys; "
        "sys.exit(any(name in sys.modules for name in ('feast', 'pyarrow', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_rule_set_of_the_ratings_is_named_wherever_they_are_described():
    listing = list_catalog(Project.from_environment().catalog)
    (local,) = (group for group in listing.groups if group.name == "local_1d")
    assert set(local.rules) == {"Recommend.All", "Recommend.MA", "Recommend.Other"}
    in_document = [line for line in registry_markdown().splitlines() if "rule set" in line]
    for name, rules in local.rules.items():
        assert rules.startswith("rule set 2024-12-26, in the source since 2024-12-26")
        assert rules in catalog_text(listing)
        assert any(f"`{name}`" in line and rules in line for line in in_document)
        assert rules in SHIPPED[name].description, "which is what `explain` shows"
    assert "first 49 bars" in local.rules["Recommend.Other"]
    assert "first 49 bars" not in local.rules["Recommend.MA"]
