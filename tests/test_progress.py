"""Progress of long work: on a terminal alone, with count, rate and time left."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from ingestion.base.progress import Progress, progress, showing, watched
from ingestion.cli.output import bars_on_terminal
from tests.terminal import on_a_terminal

WORK = """
import time
from ingestion.base.progress import progress, watched
from ingestion.cli.output import bars_on_terminal
with bars_on_terminal():
    for _ in watched(range(50), "months written"):
        time.sleep(0.04)
    for _ in watched((each for each in range(3)), "short work"):
        pass
    answers = progress("scanner", "symbols", at_once=True)
    answers.start(4)
    answers.advance(1)
    answers.close()
"""


class Told(Progress):
    """What work says of how far it is."""

    def __init__(self, said: list[object], *named: object) -> None:
        self.said = said
        said.append(named)

    def start(self, total: int | None) -> None:
        self.said.append(("of", total))

    def advance(self, number: int) -> None:
        self.said.append(number)

    def close(self) -> None:
        self.said.append("closed")


def test_what_is_watched_is_given_on_whether_somebody_looks_or_not():
    said: list[object] = []
    with showing(lambda *named: Told(said, *named)):
        assert list(watched([1, 2], "files")) == [1, 2]
        assert list(watched(iter([1]), "piles", 3)) == [1]
        assert list(watched(iter([1]), "some")) == [1]
    assert list(watched([3], "others")) == [3]
    assert said == [
        *[("files", "", False), ("of", 2), 1, 1, "closed"],
        *[("piles", "", False), ("of", 3), 1, "closed"],
        *[("some", "", False), ("of", None), 1, "closed"],
    ]


def test_work_that_fails_ends_its_report():
    said: list[object] = []
    with showing(lambda *named: Told(said, *named)), pytest.raises(ZeroDivisionError):
        list(watched((1 / number for number in (1, 0)), "quotients"))
    assert said[-2:] == [1, "closed"]


def test_a_terminal_shows_count_rate_and_time_left_and_nothing_of_what_is_soon_done():
    shown = on_a_terminal("-c", WORK, words=(sys.executable,))
    assert shown.code == 0
    timed = r"\[\d\d:\d\d<\d\d:\d\d, +[\d.]+"
    assert re.search(rf"months written: +\d+%.* \d+/50 {timed}/s\]", shown.text)
    assert "short work" not in shown.text
    assert re.search(r"scanner: +0%.* 0/4 \[", shown.text), "it waits for another machine"
    assert shown.lines == [""], "what was shown is gone"


def test_elsewhere_nothing_is_shown(capfd: pytest.CaptureFixture[str]):
    with bars_on_terminal():
        assert type(progress("scanner", at_once=True)) is Progress
        list(watched(range(3), "months written"))
    assert capfd.readouterr() == ("", "")


WAITS = """
from datetime import date
from ingestion.bars import fetching
from ingestion.catalog import BarRequest, BarSource, Column, SourceBusy
from ingestion.cli.output import bars_on_terminal
from ingestion.scanner import ScannerClient, ScannerOptions
fetching._BACKOFF = 0.01
def busy(want):
    raise SourceBusy("it is away")
with bars_on_terminal():
    options = ScannerOptions(retries=1, backoff=0.01)
    with ScannerClient("http://127.0.0.1:1", options) as client:  # nobody listens there
        client.fetch(["NYSE:KO"], [Column("close")])
    want = BarRequest(("NYSE:KO",), date(2021, 1, 1), date(2021, 1, 2))
    fetching.ask(BarSource("mine", "bars", busy), "mine.py, line 1", want)
"""


def test_why_nothing_comes_is_said_on_a_terminal_while_it_is_waited_for():
    shown = on_a_terminal("-c", WAITS, words=(sys.executable,))
    said = [line for line in shown.lines if "asking again in 0 s" in line]
    assert said[0].startswith("connection failed to 127.0.0.1:1")
    assert said[-3:] == ["mine: it is away; asking again in 0 s"] * 3
    silent = subprocess.run(
        [sys.executable, "-c", WAITS], capture_output=True, text=True, check=True
    )
    assert (silent.stdout, silent.stderr) == ("", "")
