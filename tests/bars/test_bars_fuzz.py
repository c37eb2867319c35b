"""Whatever a file holds, the import says what is wrong with it or takes it."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.catalog import OHLCV_1D
from ingestion.errors import InputError
from ingestion.jobs.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import list_parts, read_current
from ingestion.settings import Settings

CELLS = st.one_of(
    st.sampled_from(
        [
            *("2021-03-03", "2021-03-06", "1614781800", "20210303", "2021-03-03T00:00:00+02:00"),
            *("1970-01-01", "0001-01-01", "9999-12-31", "10", "12", "9", "11", "0", "-1", "1e308"),
            *("1e-320", "nan", "inf", "", "1,5", '"', "a:b", "NYSE:A", "OANDA:EURUSD"),
            "BINANCE:BTCUSDT",
        ]
    ),
    st.text(max_size=8),
)
NUMBERS = st.sampled_from(["10", "10", "10", "1e308", "1e-320", "0", "3"])
PLAUSIBLE = st.tuples(
    st.sampled_from(["2021-03-03", "2021-03-04", "1614781800"]),
    st.sampled_from(["NYSE:A", "NASDAQ:B", "OANDA:EURUSD"]),
    NUMBERS,
    NUMBERS,
).map(lambda row: ",".join([*row[:2], *[row[2]] * 4, row[3], row[3]]))
ROWS = st.lists(
    st.one_of(st.lists(CELLS, min_size=6, max_size=8).map(",".join), PLAUSIBLE), max_size=6
)
HEADERS = st.sampled_from(
    [
        "date,symbol,open,high,low,close,volume,split_ratio",
        "Date,Open,High,Low,Close,Stock Splits,Volume",
    ]
)
FILES = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode(errors="replace")),
    st.tuples(HEADERS, ROWS).map(
        lambda file: "\n".join([file[0], *file[1]]).encode(errors="replace")
    ),
)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "splits", "map"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=FILES, adjusted=st.booleans())
def test_any_content_is_imported_or_an_input_error(
    kind: str, content: bytes, adjusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    monkeypatch.setenv("TVFEAST_NOW", datetime(2021, 6, 1, tzinfo=UTC).isoformat())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = root / f"x.{'csv' if kind in ('splits', 'map') else kind}"
        path.write_bytes(content)
        files = () if kind in ("splits", "map") else (path,)
        options = {"splits": path if kind == "splits" else None, "adjusted": adjusted}
        if kind == "map":
            options["symbol_map"] = path
            files = (root / "NYSE_A_1d.csv",)
            files[0].write_text("date,open,high,low,close,volume\n2021-03-03,1,1,1,1,1\n")
        request = ImportRequest(files, exchange="NYSE", **options)  # type: ignore[arg-type]
        lakehouse = Settings(root, root / "lakehouse", "https://scanner.invalid")
        try:
            result = import_bars(lakehouse, request)
        except InputError:
            return
        held = read_current(list_parts(lakehouse.lakehouse, OHLCV_1D), OHLCV_1D)
        assert held.num_rows == result.accepted == result.written
        assert result.read == sum(
            counts.accepted + counts.repeated + counts.refused for counts in result.files
        )
        assert import_bars(lakehouse, request).written == 0
