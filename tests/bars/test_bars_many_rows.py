"""Files of any size: what is kept of them is bounded, and nothing depends on the pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of
from hypothesis import given
from hypothesis import strategies as st

from ingestion.bars import arrays, layout
from ingestion.bars.held_bars import waiting_bars
from ingestion.bars.survey import MARKED_NUMBER, distinct_matching, settle_comma
from ingestion.base import spill
from ingestion.project import Project

DAYS = [f"2021-{month:02}-{day:02}" for month in (1, 2) for day in range(1, 29)]
CELLS = st.lists(
    st.one_of(
        st.from_regex(r"[$-]?\d{0,4}([.,]\d{0,4}){1,3}%?", fullmatch=True),
        st.text(alphabet="0123.,-z ", max_size=9),
    ),
    max_size=12,
)


def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make batches of a few hundred bytes or rows, and regroup all on disk."""
    monkeypatch.setattr(layout, "BYTES_AT_ONCE", 512)
    monkeypatch.setattr(layout, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(arrays, "ROWS_AT_ONCE", 11)
    monkeypatch.setattr(spill, "BYTES_IN_MEMORY", 1_000)


def vendor_rows() -> list[str]:
    """Bars of several symbols, among them bad ones of many kinds."""
    lines = []
    for n, day in enumerate(DAYS):
        lines += [
            day_of(f"NYSE:S{k}", day, 10 + 0.1 * ((n * (k + 3)) % 7), volume=n) for k in range(5)
        ]
        lines.append(day_of("NYSE:L", day, 10 if n < 40 else 100))
        if n % 9 == 0:
            lines.append(day_of("NYSE:S1", day, 10 + 0.1 * ((n * 4) % 7), volume=n + 1))
        if n % 11 == 0:
            lines += ["short,line\n", f"{day},NYSE:S2,10,9,8,9,1\n", day_of("NYSE:S3", day, 11.5)]
    return lines


def waiting(settings: Project) -> list[tuple[Any, ...]]:
    rows = waiting_bars(settings.lakehouse).drop_columns(["created_timestamp"]).to_pylist()
    return [tuple(row.values()) for row in rows]


def outcome(result: Any) -> dict[str, Any]:
    """All that an import says of itself, but for its identity and the order of refusals."""
    refused = sorted(
        (each.file, each.row, each.symbol, each.reason, each.detail) for each in result.refusals
    )
    findings = [(each.name, each.count, sorted(each.examples)) for each in result.findings]
    return {
        "files": result.files,
        "restated": result.restated,
        "symbols": result.symbols,
        "by_reason": result.refused_by_reason,
        "refused": refused,
        "findings": findings,
        "parts": len(result.parts),
    }


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_import_in_small_pieces_is_that_in_one(
    kind: str,
    run: Import,
    write: Write,
    stored: Rows,
    tmp_path: Path,
    lakehouse: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write("v.csv", HEADER + "".join(vendor_rows()))
    if kind == "parquet":
        rows = [line.strip().split(",") for line in vendor_rows()]
        whole = [row for row in rows if len(row) == 7]
        names = HEADER.strip().split(",")
        path = tmp_path / "v.parquet"
        table = pa.table(dict(zip(names, zip(*whole, strict=True), strict=True)))
        pq.write_table(table, path, row_group_size=13)
    at_once, rows_at_once = outcome(run(path)), stored()
    held_at_once = waiting(lakehouse)
    assert len(held_at_once) > 5
    lakehouse.lakehouse_at.rename(tmp_path / "at-once")
    small_pieces(monkeypatch)
    assert outcome(run(path)) == at_once
    assert stored() == rows_at_once
    assert waiting(lakehouse) == held_at_once
    assert (at_once["by_reason"], at_once["symbols"]) != ({}, 0)
    again = run(path)
    assert (again.written, again.parts) == (0, ())
    assert waiting(lakehouse) == held_at_once
    splits = write("splits.csv", "symbol,date,ratio\nNYSE:L,2021-02-16,0.1\n")
    assert run(splits=splits).released == len(held_at_once)
    assert not waiting(lakehouse)
    assert not list(lakehouse.lakehouse_at.glob("_tmp/*"))


def test_what_a_killed_import_has_spilled_is_removed_by_the_next_one(
    lakehouse: Project, run: Import, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The run is gone, and nothing of it runs on."""

    def die(*_: object) -> None:
        raise Killed

    small_pieces(monkeypatch)
    path = write("v.csv", HEADER + "".join(vendor_rows()))
    left = lakehouse.lakehouse_at / "_tmp"
    with monkeypatch.context() as patch:
        patch.setattr("ingestion.jobs.ingest.import_bars.judge_symbols", die)
        patch.setattr("ingestion.lakehouse.local_disk.shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            run(path)
    assert [file.name for file in left.rglob("*") if file.is_file()]
    assert run(write("w.csv", HEADER + day_of("NYSE:A", "2021-03-01"))).written == 1
    assert not list(left.rglob("*"))


@given(texts=CELLS, dots=st.booleans())
def test_the_forms_of_numbers_tell_the_comma_as_the_numbers_do(
    texts: list[str], dots: bool
) -> None:
    column = pa.chunked_array([pa.array(texts, pa.string())])
    each = distinct_matching(column, MARKED_NUMBER)
    forms = distinct_matching(column, MARKED_NUMBER, as_shapes=True)
    assert settle_comma(forms, dots=dots, default=None) == settle_comma(
        each, dots=dots, default=None
    )


def test_a_million_numbers_have_few_forms() -> None:
    numbers = pa.array([f"{n * 7919 % 10**7:,}" for n in range(20_000)])
    assert len(distinct_matching(pa.chunked_array([numbers]), MARKED_NUMBER, as_shapes=True)) < 20


@given(sizes=st.lists(st.integers(0, 900_000), max_size=9))
def test_no_more_bars_are_judged_together_than_fit(sizes: list[int]) -> None:
    spans = list(arrays.together(np.array(sizes, dtype=np.int64)))
    assert [at for span in spans for at in span] == list(range(len(sizes)))
    for span in spans:
        filled = [sizes[at] for at in span if sizes[at]]
        assert sum(filled) <= arrays.ROWS_AT_ONCE or len(filled) == 1
