"""How a bar source is asked: pauses, budgets, batches; and what is wrong in its declaration."""

from __future__ import annotations

import json
from datetime import date

import pytest

from tests.bars.source_files import COIN, GOOD, OTHER, SHIPPED, A, B, World


def test_a_source_that_is_busy_is_asked_again(world: World) -> None:
    count = world.folder / "count"
    world.write(f"""
        from pathlib import Path
        COUNT = Path({str(count)!r})

        def tables(want):
            tries = int(COUNT.read_text()) + 1 if COUNT.exists() else 1
            COUNT.write_text(str(tries))
            if tries == 1:
                raise SourceBusy("limit", wait=0.01)
            if tries == 2:
                raise ConnectionResetError("reset")
            yield bars(want)
    """)
    result = world.fetch(COIN)
    assert (result.exit_code, count.read_text()) == (0, "3"), result.output
    assert len(world.days(COIN)) == 9


def test_a_source_that_is_down_is_left_alone(world: World) -> None:
    asked = world.folder / "asked"
    world.write(f"""
        def tables(want):
            with open({str(asked)!r}, "a") as file:
                print(want.symbol, file=file)
            raise TimeoutError("no answer")
    """)
    symbols = [f"BINANCE:C{n}USDT" for n in range(9)]
    result = world.fetch(*symbols)
    assert result.exit_code == 4
    assert "TimeoutError: no answer" in str(result.exception)
    assert asked.read_text().split() == [each for each in symbols[:5] for _ in range(4)]


UNREACHED = {
    "urllib": 'urlopen("http://vendor.invalid")',
    "refused": 'raise ConnectionRefusedError(111, "Connection refused")',
    "no way": 'raise SourceBusy("the vendor is away") from OSError(101, "Network is unreachable")',
}
BEFORE = """
    from urllib.request import urlopen

    def tables(want):
        with open({asked!r}, "a") as file:
            print(want.symbol, file=file)
        if want.symbol in {good!r}:
            yield bars(want)
            return
        {fails}
"""


@pytest.mark.parametrize("kind", UNREACHED)
def test_a_host_that_is_not_reached_at_all_is_not_asked_for_the_other_symbols(
    world: World, kind: str
) -> None:
    asked = world.folder / "asked"
    world.write(BEFORE.format(asked=str(asked), good=(), fails=UNREACHED[kind]))
    result = world.fetch(*(f"BINANCE:C{n}USDT" for n in range(9)))
    assert result.exit_code == 4
    assert "(is there a network?)" in str(result.exception)
    assert asked.read_text().split() == ["BINANCE:C0USDT"] * 4
    # Once it is there, the same command goes on.
    world.write(GOOD)
    assert world.fetch(*(f"BINANCE:C{n}USDT" for n in range(9))).exit_code == 0
    assert len(world.rows()) == 81


def test_a_host_that_was_reached_is_waited_for_as_one_that_is_down(world: World) -> None:
    asked = world.folder / "asked"
    fails = UNREACHED["refused"]
    world.write(BEFORE.format(asked=str(asked), good=(COIN,), fails=fails))
    others = [f"BINANCE:C{n}USDT" for n in range(9)]
    result = world.fetch(COIN, *others)
    assert result.exit_code == 3
    assert asked.read_text().split() == [COIN, *(each for each in others[:5] for _ in range(4))]
    assert json.loads(result.stdout.splitlines()[0])["not_asked"] == others[5:]


def test_a_source_that_asks_for_a_long_pause_is_left_for_later(world: World) -> None:
    world.write("""
        def tables(want):
            if want.symbol.endswith("ETHUSDT"):
                raise SourceBusy("quota", wait=3600)
            yield bars(want)
    """)
    result = world.fetch(COIN, OTHER, "BINANCE:XRPUSDT")
    document = json.loads(result.stdout.splitlines()[0])
    assert result.exit_code == 3
    assert document["not_asked"] == ["BINANCE:XRPUSDT"]
    assert len(world.days(COIN)) == 9


def test_an_http_error_is_asked_again_only_if_its_status_says_so(world: World) -> None:
    asked = world.folder / "asked"
    world.write(f"""
        import io
        from urllib.error import HTTPError

        def tables(want):
            with open({str(asked)!r}, "a") as file:
                print(want.symbol, file=file)
            code = 404 if want.symbol.endswith("BTCUSDT") else 503
            raise HTTPError("http://vendor.invalid", code, "no", {{}}, io.BytesIO())
    """)
    assert world.fetch(COIN, OTHER).exit_code == 4
    assert asked.read_text().split() == [COIN, *[OTHER] * 4]


def test_a_budget_ends_a_run_and_the_next_one_goes_on(world: World) -> None:
    world.write(GOOD, ", budget=1")
    result = world.fetch(COIN, OTHER)
    assert result.exit_code == 3
    assert json.loads(result.stdout.splitlines()[0])["not_asked"] == [OTHER]
    assert world.fetch(OTHER).exit_code == 0
    assert len(world.rows()) == 18


def test_a_batch_asks_for_several_symbols_and_rows_of_others_are_refused(world: World) -> None:
    world.write(
        """
        def tables(want):
            table = bars(want)
            size = len(table.columns["time"])
            for symbol in (*want.symbols[:2], "BINANCE:XRPUSDT"):
                yield BarTable({**table.columns, "symbol": [symbol] * size})
        """,
        ", batch=3",
    )
    result = world.fetch(COIN, OTHER, "BINANCE:DOGEUSDT")
    document = json.loads(result.stdout.splitlines()[0])
    assert result.exit_code == 3
    assert document["empty"] == ["BINANCE:DOGEUSDT"]
    assert document["refused"] == 10
    assert len(world.days(COIN)) == len(world.days(OTHER)) == 9
    assert not world.days("BINANCE:XRPUSDT")


def test_a_ticker_alone_means_the_symbol_that_was_asked_for_if_there_is_one(world: World) -> None:
    world.write(
        """
        def tables(want):
            for name in ("aapl", "nyse:ibm", "BTCUSDT"):
                yield bars(want, symbol=name)
        """,
        ", batch=9",
    )
    result = world.fetch(A, B, COIN, "KRAKEN:BTCUSDT")
    assert result.exit_code == 3
    assert {row["symbol"] for row in world.rows()} == {A, B}
    document = json.loads(result.stdout.splitlines()[0])
    assert document["empty"] == [COIN, "KRAKEN:BTCUSDT"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SOURCE = BarSource('My source', 'm', print)", "line 5: 'My source' cannot be a bar so"),
        ("SOURCE = BarSource('mine', 'm', 7)", "line 5: mine: tables is not a function"),
        ("SOURCE = BarSource('mine', 'm', print, times='noon')", "line 5: mine: times 'noon' is"),
        ("SOURCE = BarSource('mine', 'm', print, priority=0)", "line 5: mine: priority 0 is no"),
        ("SOURCE = BarSource('mine', 'm', print, batch=True)", "line 5: mine: batch True is no"),
        ("SOURCE = BarSource('mine', 'm', print, budget=0)", "line 5: mine: budget 0 is no"),
        ("SOURCE = BarSource('mine', 'm', print, pause=-1)", "line 5: mine: pause -1 is no"),
        ("SOURCE = BarSource('mine', 'm', print, exchanges='NYSE')", "line 5: mine: exchanges is"),
        ("1 / 0", "line 5: ZeroDivisionError: division by zero"),
        ("def tables(:", "line 5: this is not Python"),
        ("import no_such_package", "line 5: ModuleNotFoundError: No module named 'no_such_pack"),
    ],
)
def test_a_wrong_declaration_is_reported_with_file_and_line(
    world: World, text: str, said: str
) -> None:
    path = world.sources / "mine.py"
    path.write_text(f"# a source\n\nfrom ingestion.catalog import BarSource\n\n{text}\n")
    for command in (("catalog",), ("catalog", "check")):
        result = world.run(*command)
        assert result.exit_code != 0
        assert f"{path}, {said}" in str(result.exception)


def test_two_sources_of_one_name_are_refused_with_both_places(world: World) -> None:
    first = world.write(GOOD, name="a.py")
    second = world.write(GOOD, name="b.py")
    result = world.run("catalog", "check")
    line = len(first.read_text().splitlines())
    assert str(result.exception) == (
        f"{second}, line {line}: 'mine' is declared at {first}, line {line} already: "
        "rename one of them"
    )


def test_the_catalog_lists_and_checks_sources(world: World) -> None:
    path = world.write(GOOD, ", exchanges=['BINANCE', 'BINACNE'], adjusted=True")
    (world.sources / "empty.py").write_text("VALUE = 1\n")
    *shipped, source = json.loads(world.run("catalog", "--json").stdout)["sources"]
    assert [each["name"] for each in shipped] == SHIPPED
    line = len(path.read_text().splitlines())
    assert source == {
        "name": "mine",
        "meaning": "bars of mine",
        "place": f"{path}, line {line}",
        "adjusted": True,
        "priority": 50,
        "exchanges": ["BINANCE", "BINACNE"],
        "daily": [],
    }
    assert "split-adjusted" in world.run("catalog").stdout
    problems = json.loads(world.run("catalog", "check", "--json").stdout.splitlines()[0])[
        "problems"
    ]
    assert any(
        each.startswith(f"{world.sources / 'empty.py'} declares no bar") for each in problems
    )
    assert any("mine has the exchange 'BINACNE'" in each for each in problems)


def test_an_unknown_source_is_named_with_those_that_there_are(world: World) -> None:
    world.write(GOOD)
    result = world.fetch(COIN, source="yours")
    assert result.exit_code == 2
    there = f"there are {', '.join(SHIPPED)}, mine"
    assert str(result.exception) == f"there is no bar source 'yours'; {there}"
    near = world.fetch(COIN, source="mien")
    assert near.exit_code == 2
    assert f"no bar source 'mien' (did you mean mine?); {there}" in str(near.exception)


def test_a_source_of_other_exchanges_is_not_asked(world: World) -> None:
    world.write(GOOD, ", exchanges=['KRAKEN']")
    result = world.fetch(COIN)
    assert result.exit_code == 2
    assert "has bars of KRAKEN alone" in str(result.exception)


def test_dates_in_the_wrong_order_are_refused(world: World) -> None:
    world.write(GOOD)
    result = world.fetch(COIN, words=("--from", "2021-06-01", "--to", "2021-05-01"))
    assert result.exit_code == 2
    assert date(2021, 6, 1).isoformat() in str(result.exception)
