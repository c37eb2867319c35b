"""Reading what another process replaces meanwhile: to the end, and not for ever."""

from __future__ import annotations

from itertools import chain, count, cycle

import pytest

from ingestion.base.reading import reading_again


def test_it_goes_on_while_other_files_go_missing():
    missing = iter(range(100))

    def read() -> str:
        for number in missing:
            raise FileNotFoundError(f"part-{number}.parquet")
        return "all"

    assert reading_again(read) == "all"


@pytest.mark.parametrize("missing", [["a"], ["a", "b"]])
def test_it_gives_up_on_files_that_nothing_replaces(missing: list[str]):
    tries, names = count(), chain(cycle(missing))

    def read() -> None:
        assert next(tries) < 20
        raise FileNotFoundError(next(names))

    with pytest.raises(FileNotFoundError, match="a"):
        reading_again(read)
