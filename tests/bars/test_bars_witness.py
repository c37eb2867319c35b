"""The market is a witness of its calendar: an import tells the days on which they disagree."""

from __future__ import annotations

import json

from bars_tools import HEADER, Import, Write

from ingestion.cli.bars import import_text

WEEK = ("2021-03-01", "2021-03-02", "2021-03-03", "2021-03-04", "2021-03-05")


def lines(symbols: list[str], days: tuple[str, ...], volume: int = 100) -> str:
    return "".join(f"{day},{symbol},10,11,9,10,{volume}\n" for day in days for symbol in symbols)


def test_days_on_which_symbols_trade_and_the_calendar_says_closed_are_told(
    run: Import, write: Write
) -> None:
    text = HEADER + lines(["NSE:A", "NSE:B"], (*WEEK, "2021-03-06"))
    text += lines(["NSE:A"], ("2021-03-07T04:00:00Z",))  # Sunday, as an instant
    text += lines(["NYSE:C"], (*WEEK, "2021-03-07"), volume=0)  # a filler, nobody traded
    result = run(write("v.csv", text))
    findings = json.loads(result.receipt.path.read_text())["findings"]
    assert findings["traded_on_closed_days"] == {
        "count": 2,
        "examples": ["NSE Sat 2021-03-06 (2 symbols)", "NSE Sun 2021-03-07 (1 symbols)"],
    }
    assert "2 days on which symbols traded and the calendar has none" in import_text(result)
    assert "open_days_without_trade" not in findings


def test_open_days_on_which_none_of_many_symbols_trade_are_told(run: Import, write: Write) -> None:
    days = tuple(day for day in WEEK if day != "2021-03-03")
    many = [f"NSE:S{n}" for n in range(5)]
    few = [f"NYSE:S{n}" for n in range(4)]
    result = run(write("v.csv", HEADER + lines(many, days) + lines(few, days)))
    findings = json.loads(result.receipt.path.read_text())["findings"]
    assert findings["open_days_without_trade"]["examples"] == [
        "NSE Wed 2021-03-03 (none of 5 symbols)"
    ]
    again = run(write("w.csv", HEADER + lines(many, WEEK)))
    assert "open_days_without_trade" not in json.loads(again.receipt.path.read_text())["findings"]
