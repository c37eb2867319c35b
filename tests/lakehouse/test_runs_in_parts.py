"""The lease of a run whose steps are processes of their own, on each kind of lakehouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.base.errors import LakehouseLocked
from ingestion.lakehouse import Lakehouse, LocalDisk, lakehouse_lock
from ingestion.lakehouse.lease import Step
from ingestion.lakehouse.object_store import ObjectStore

FIRST, NEXT, LAST = Step(False, 900), Step(True, 900), Step(True, 0)


@pytest.fixture(params=["local disk", "object store"])
def lakehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lakehouse]:
    if request.param == "local disk":
        yield LocalDisk(tmp_path / "lakehouse")
    else:
        yield ObjectStore(request.getfixturevalue("bucket"))


def taken(lakehouse: Lakehouse, run_id: str, step: Step | None = None) -> bool:
    with lakehouse_lock(lakehouse, run_id, step):
        return True


def test_between_two_steps_no_other_run_writes(lakehouse: Lakehouse):
    for step in (FIRST, NEXT, NEXT):
        assert taken(lakehouse, "parts", step)
        for other in (None, FIRST):
            with pytest.raises(LakehouseLocked, match="run parts is between two of its steps"):
                taken(lakehouse, "other", other)
    assert taken(lakehouse, "parts", LAST)
    assert taken(lakehouse, "other")
    assert taken(lakehouse, "other parts", FIRST)


def test_a_step_that_fails_may_be_tried_again_also_the_last(lakehouse: Lakehouse):
    taken(lakehouse, "parts", FIRST)
    for step in (NEXT, LAST):
        with pytest.raises(ZeroDivisionError), lakehouse_lock(lakehouse, "parts", step):
            raise ZeroDivisionError
        with pytest.raises(LakehouseLocked, match="between two of its steps"):
            taken(lakehouse, "other")
        assert taken(lakehouse, "parts", step)
    assert taken(lakehouse, "other")


@pytest.mark.parametrize("other", [None, FIRST], ids=["a run", "a run in parts"])
def test_a_run_that_waited_too_long_goes_on_only_if_nobody_wrote_meanwhile(
    lakehouse: Lakehouse, other: Step | None, monkeypatch: pytest.MonkeyPatch
):
    taken(lakehouse, "parts", Step(False, 0.001))
    monkeypatch.setattr("ingestion.lakehouse.lease._is_over", lambda *_, **__: True)
    assert taken(lakehouse, "parts", Step(True, 0.001))
    assert taken(lakehouse, "other", other)
    with pytest.raises(LakehouseLocked, match="run parts lost its lease") as told:
        taken(lakehouse, "parts", NEXT)
    assert told.value.exit_code == 5


def test_two_processes_are_not_in_one_run_at_once(lakehouse: Lakehouse):
    taken(lakehouse, "parts", FIRST)
    with lakehouse_lock(lakehouse, "parts", NEXT):
        for run, step in (("parts", NEXT), ("other", None)):
            with pytest.raises(LakehouseLocked):
                taken(type(lakehouse)(*_place(lakehouse)), run, step)
    assert taken(lakehouse, "parts", NEXT)


def _place(lakehouse: Lakehouse) -> tuple[object]:
    return (lakehouse.root,) if isinstance(lakehouse, LocalDisk) else (str(lakehouse),)
