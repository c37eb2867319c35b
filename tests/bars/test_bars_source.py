"""The text of the column ``source``: what its parts mean, and that nothing of it is lost."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.bars.source import SCANNER, Source, of_each_source, with_assumed_hours

NAMES = st.text(st.characters(exclude_characters=";,"), max_size=20)


@given(
    origin=st.just("scanner") | NAMES.map("import:{}".format),
    adjusted=st.booleans(),
    assumed_hours=st.booleans(),
    splits_file=st.none() | NAMES,
    refused=st.booleans(),
)
def test_a_source_is_what_its_text_says(
    origin: str, adjusted: bool, assumed_hours: bool, splits_file: str | None, refused: bool
) -> None:
    source = Source(origin, adjusted, assumed_hours, splits_file, refused)
    assert Source.parse(str(source)) == source


@given(st.text())
def test_a_withdrawn_bar_keeps_its_reason_whatever_it_is(reason: str) -> None:
    assert Source.parse(str(Source(withdrawn=reason))).withdrawn == reason


@pytest.mark.parametrize(
    "text",
    [
        "scanner",
        "scanner;assumed_hours",
        "scanner;splits:splits.csv",
        "import:a.csv",
        "import:a.csv,b.csv",
        "import:a.csv;adjusted;assumed_hours;splits:",
        "refused;import:a.csv;adjusted",
        "withdrawn;of no session;adjusted",
        "of a withdrawn bar",
        "import:ends;adjusted.csv",
        "import:;splits.csv",
    ],
)
def test_stored_texts_stay_as_they_are(text: str) -> None:
    assert str(Source.parse(text)) == text


def test_a_file_may_be_called_as_an_addition() -> None:
    assert not Source.parse("import:x;adjusted.csv").adjusted


def test_a_column_is_asked_by_row() -> None:
    sources = pa.chunked_array([["import:a.csv", "scanner"], ["scanner;assumed_hours"]])
    assert of_each_source(sources, lambda source: source.is_scanned).tolist() == [
        False,
        True,
        True,
    ]
    none = of_each_source(sources.slice(0, 0), lambda source: source.is_scanned)
    assert (none.dtype, len(none)) == (bool, 0)


def test_assumed_hours_are_marked_where_they_are() -> None:
    marked = with_assumed_hours(
        pa.array([str(SCANNER)] * 2), pa.array([True, False]).to_numpy(False)
    )
    assert marked.to_pylist() == ["scanner;assumed_hours", "scanner"]
