"""A calendar takes seconds to make, so it is kept; it is the same one, and never a broken one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from ingestion.markets import cache, calendars


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tvfeast"


def load(calendar: str) -> calendars.Calendar:
    calendars._loaded.cache_clear()
    return calendars._loaded(calendar, 2030)


@pytest.mark.parametrize("calendar", ["XNYS", "XBOM"])
def test_a_kept_calendar_is_the_one_that_was_made(
    folder: Path, calendar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load(calendar)
    monkeypatch.setattr(calendars, "_computed", None)  # nobody makes it again
    kept = load(calendar)
    for each in fields(made):
        one, other = getattr(made, each.name), getattr(kept, each.name)
        assert type(one) is type(other)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other
    assert [path.suffix for path in folder.iterdir()] == [".npz"]
    assert folder.stat().st_mode & 0o77 == 0


def numbers(count: list[int]) -> cache.Arrays:
    count.append(1)
    return {"numbers": np.arange(5)}


def test_what_is_damaged_or_of_objects_is_made_again(folder: Path) -> None:
    count: list[int] = []

    def made() -> int:
        found = cache.cached("key", lambda: numbers(count))
        assert found["numbers"].tolist() == [0, 1, 2, 3, 4]
        return len(count)

    assert [made(), made()] == [1, 1]
    (path,) = folder.iterdir()
    content = path.read_bytes()
    for damaged in (b"", content[:-1], content[:40], b"no archive"):
        path.write_bytes(damaged)
        before = len(count)
        assert [made(), made()] == [before + 1, before + 1]
    np.savez(path, numbers=np.array([{}], dtype=object))
    assert made() == len(count)


def test_a_calendar_is_made_again_with_other_rules_of_time_zones(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "zoneinfo"
    rules.mkdir()
    monkeypatch.setattr(calendars, "TZPATH", (str(tmp_path / "none"), str(rules)))
    found = [calendars.tz_rules()]
    for name, line in (("tzdata.zi", "# version 2025b"), ("tzdata.zi", "# version 2026a")):
        (rules / name).write_text(f"{line}\nR A 1916\n")
        found.append(calendars.tz_rules())
        assert line in found[-1]
    (rules / "Europe").mkdir()
    found.append(calendars.tz_rules())
    assert len({tuple(each) for each in found}) == 4
    for before, each in enumerate([found[0], found[-1]]):  # to make one takes seconds
        monkeypatch.setattr(calendars, "tz_rules", lambda each=each: each)
        load("XNYS")
        assert len(list(folder.iterdir())) == before + 1


def test_a_folder_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    count: list[int] = []
    for _ in range(2):
        assert cache.cached("key", lambda: numbers(count))["numbers"].tolist() == [0, 1, 2, 3, 4]
    assert len(count) == 2
