from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ingestion.quality.waivers import Waivers, read_waivers, waivable
from tests.declared import GROUPS

GOOD = """
owner = "A. Person"
reason = "vendor outage"
expires = 2026-01-16
waives = ["tv_technicals_1d: RSI unit", "local_1d: age hours"]
"""
NOON = datetime(2026, 1, 16, 12, tzinfo=UTC)


def read(folder: Path, text: str, at: datetime = NOON, name: str = "outage.toml") -> Waivers:
    (folder / "waivers").mkdir(exist_ok=True)
    (folder / "waivers" / name).write_text(text)
    return read_waivers(folder, GROUPS, at)


def test_a_waiver_waives_what_it_names_and_nothing_else(tmp_path: Path):
    waivers = read(tmp_path, GOOD)
    assert waivers.problems == ()
    (waiver,) = waivers.valid
    assert (waiver.owner, waiver.reason, waiver.expires) == (
        *("A. Person", "vendor outage"),
        date(2026, 1, 16),
    )
    assert waivers.of("tv_technicals_1d", "RSI unit") is waiver
    assert waivers.of("local_1d", "RSI unit") is None
    assert waivers.of("tv_technicals_1d", "RSI bounds") is None
    assert waivers.of_group("tv_technicals_1d") == {"RSI unit"}
    assert waivers.of_group("local_1d") == {"age hours"}


def test_it_holds_to_the_end_of_its_last_day_utc(tmp_path: Path):
    midnight = datetime(2026, 1, 17, tzinfo=UTC)
    assert read(tmp_path, GOOD, midnight - timedelta(microseconds=1)).problems == ()
    expired = read(tmp_path, GOOD, midnight)
    assert expired.valid == ()
    (problem,) = expired.problems
    assert "outage.toml" in problem
    assert "expired on 2026-01-16" in problem
    assert "A. Person" in problem


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("owner = ", "nobody = "), "'nobody'"),
        (('owner = "A. Person"\n', ""), "owner"),
        (('"A. Person"', '" "'), "owner"),
        (('"vendor outage"', "7"), "reason"),
        (("2026-01-16", '"2026-01-16"'), "expires"),
        (("2026-01-16", "2026-01-16T00:00:00Z"), "expires"),
        (("expires = 2026-01-16\n", ""), "expires"),
        (('["tv_technicals_1d: RSI unit", "local_1d: age hours"]', "[]"), "waives"),
        (('["tv_technicals_1d: RSI unit", "local_1d: age hours"]', '"all"'), "waives"),
        (("tv_technicals_1d: RSI unit", "tv_technicals_1d: RSI"), "'tv_technicals_1d: RSI'"),
        (('"tv_technicals_1d: RSI unit"', "[1]"), "[1]"),
        (("tv_technicals_1d: RSI unit", "*"), "'*'"),
        (("owner", "[owner"), "not TOML"),
    ],
)
def test_a_malformed_one_is_told_and_waives_nothing(
    tmp_path: Path, change: tuple[str, str], told: str
):
    assert change[0] in GOOD
    waivers = read(tmp_path, GOOD.replace(*change))
    assert waivers.valid == ()
    (problem,) = waivers.problems
    assert told in problem
    assert "outage.toml" in problem


def test_bytes_that_are_no_text_are_told(tmp_path: Path):
    read(tmp_path, GOOD)
    (tmp_path / "waivers" / "outage.toml").write_bytes(b"\xff\xfe")
    assert "not TOML" in read_waivers(tmp_path, GROUPS, NOON).problems[0]


def test_a_file_of_another_name_is_told_rather_than_overlooked(tmp_path: Path):
    assert "*.toml" in read(tmp_path, GOOD, name="outage.tml").problems[0]


def test_one_that_is_broken_leaves_the_others_in_force(tmp_path: Path):
    read(tmp_path, GOOD)
    waivers = read(tmp_path, "nonsense", name="another.toml")
    assert (len(waivers.valid), len(waivers.problems)) == (1, 1)


def test_without_a_folder_there_are_none(tmp_path: Path):
    assert read_waivers(tmp_path, GROUPS, NOON) == Waivers((), ())


def test_every_check_can_be_named():
    for group in GROUPS:
        names = set(waivable(group))
        for check in ("RSI unit", "RSI lost share", "RSI bounds", "RSI type", "rows", "coverage"):
            assert check in names
