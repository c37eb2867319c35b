"""Dividends of a bar source of one's own: whose they are, which count, which tables are none."""

from __future__ import annotations

import json

import pytest

from ingestion.catalog import DIVIDENDS
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from tests.bars.source_files import COIN, OTHER, World

BATCH = """
    def tables(want):
        for symbol in want.symbols:
            yield bars(want, symbol=symbol)
        yield DividendTable({columns})
"""
IMPORT = "from ingestion.catalog import DividendTable\n"


def recorded() -> dict[tuple[str, str], tuple[float, str | None, str]]:
    lakehouse = Project.from_environment().lakehouse
    rows = read_current(list_parts(lakehouse, DIVIDENDS), DIVIDENDS).to_pylist()
    return {
        (each["symbol"], each["ex_date"]): (each["amount"], each["currency"], each["source"])
        for each in rows
    }


def write(world: World, columns: str, body: str = BATCH) -> None:
    path = world.write(body.replace("{columns}", columns), ", batch=5")
    path.write_text(IMPORT + path.read_text())


def test_a_table_of_several_symbols_says_whose_each_dividend_is(world: World):
    columns = {
        "symbol": [COIN, OTHER, "BTCUSDT"],
        "date": ["2021-05-25", "2021-05-26", "2021-05-27"],
    }
    columns |= {"amount": [0.5, 0.25, 0.5], "currency": ["USD", None, "usd"]}
    write(world, repr(columns))
    assert world.fetch(COIN, OTHER).exit_code == 0
    assert recorded() == {
        (COIN, "2021-05-25"): (0.5, "USD", "fetch:mine"),
        (COIN, "2021-05-27"): (0.5, "USD", "fetch:mine"),
        (OTHER, "2021-05-26"): (0.25, None, "fetch:mine"),
    }


def test_what_a_file_recorded_stays_and_the_difference_is_named(world: World):
    path = world.folder / "dividends.csv"
    path.write_text(f"symbol,ex_date,amount\n{COIN},2021-05-25,0.5\n")
    assert world.run("import-bars", "--dividends", str(path)).exit_code == 0
    write(world, f"{{'symbol': ['{COIN}'], 'date': ['2021-05-25'], 'amount': [0.75]}}")
    result = world.fetch(COIN)
    assert result.exit_code == 0
    (run,) = json.loads(result.stdout)["imports"]
    assert run["findings"]["dividends_overruled"]["examples"] == [f"{COIN} 2021-05-25 0.75"]
    assert recorded()[COIN, "2021-05-25"][0] == 0.5
    # What is not listed is the file's, and is not withdrawn either.
    write(world, f"{{'symbol': ['{COIN}'], 'date': ['2021-05-26'], 'amount': [0.75]}}")
    assert world.fetch(COIN, words=("--from", "2021-05-01")).exit_code == 0
    assert recorded()[COIN, "2021-05-25"][0] == 0.5


def test_rows_that_are_no_dividends_are_refused_and_the_others_are_taken(world: World):
    columns = {
        "symbol": [COIN, COIN, COIN, COIN, COIN, "NYSE:KO"],
        "date": ["2021-05-25", "2021-05-26", "?"] * 2,
    }
    columns |= {"amount": [0.5, -1, 0.5, 0.6, float("inf"), 1]}
    write(world, repr(columns).replace("inf", "float('inf')"))
    result = world.fetch(COIN)
    assert result.exit_code == 3
    (run,) = json.loads(result.stdout.splitlines()[0])["imports"]
    assert run["refused"] == 6  # two amounts of one day disagree
    assert recorded() == {}
    assert run["written"] > 0


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("{'date': ['2021-05-25']}", "yielded a table with no column for"),
        ("{'date': ['2021-05-25'], 'amount': [1, 2]}", "columns are not of one length"),
        ("{'date': ['2021-05-25'], 'amount': [1]}", "does not say whose bars it has"),
    ],
)
def test_a_table_that_is_none_costs_itself_alone(world: World, columns: str, told: str):
    write(world, columns)
    result = world.fetch(COIN, OTHER)
    assert result.exit_code == 3
    assert told in str(result.exception)
    assert recorded() == {}
    assert len(world.rows()) > 0
