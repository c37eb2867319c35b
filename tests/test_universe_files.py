"""A universe is one TOML file: what is read, and what is refused with file and line."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingestion.base.errors import CatalogError
from ingestion.catalog import Catalog, Condition, Listing, Universe
from ingestion.catalog.scanner_vocabulary import MARKETS, OPERATIONS, columns, is_column
from ingestion.catalog.universes import load_universes
from ingestion.cli.commands import cli
from ingestion.formulas import SHIPPED
from ingestion.jobs.workspace import make_workspace

SCAN = """\
[scan]
market = "america"
filter = [
    {left = "type", operation = "equal", right = "stock"},
    {left = "exchange", operation = "in_range", right = ["NASDAQ", "NYSE"]},
]
sort = {by = "market_cap_basic", order = "desc"}
limit = 500
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "feature_repo" / "universes").mkdir(parents=True)
    return tmp_path / "feature_repo"


def declare(repository: Path, text: str | bytes, name: str = "mine.toml") -> Path:
    path = repository / "universes" / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def only(repository: Path) -> Universe:
    (universe,) = load_universes([repository / "universes"])
    return universe


def test_a_scan_is_read_in_the_scanners_own_terms(repository: Path):
    declare(repository, SCAN, "us_large.toml")
    assert only(repository) == Universe(
        "us_large",
        Listing(
            market="america",
            filter=(
                Condition("type", "equal", "stock"),
                Condition("exchange", "in_range", ("NASDAQ", "NYSE")),
            ),
            sort_by="market_cap_basic",
            descending=True,
            limit=500,
        ),
    )


def test_a_set_of_symbols_is_read(repository: Path):
    declare(repository, 'symbolset = "SYML:SP;SPX"\nmax_age = "36h"\nmeaning = "the 500"\n')
    universe = only(repository)
    assert universe.source == Listing(market="global", symbolset="SYML:SP;SPX")
    assert (universe.max_age, universe.meaning) == (timedelta(hours=36), "the 500")


def test_a_byte_order_mark_is_no_fault(repository: Path):
    declare(repository, '\ufeffsymbolset = "SYML:SP;SPX"\n')
    assert only(repository).name == "mine"


def test_a_file_of_symbols_lies_beside_its_universe(repository: Path):
    path = declare(repository, 'symbols = "lists/mine.json"\n')
    assert only(repository).source == path.parent / "lists" / "mine.json"


def test_a_file_of_symbols_may_lie_in_the_projects_folder(repository: Path):
    declare(repository, 'symbols = "mine.json"\n')
    (repository.parent / "mine.json").write_text("[]")
    assert only(repository).source == (repository.parent / "mine.json").resolve()
    (repository / "universes" / "mine.json").write_text("[]")
    assert only(repository).source == repository / "universes" / "mine.json"


@pytest.mark.parametrize(
    "condition",
    [
        'left = "close", operation = "greater", right = 5',
        'left = "close", operation = "egreater", right = "SMA200"',
        'left = "RSI|60", operation = "less", right = 30.5',
        'left = "EMA20", operation = "crosses_above", right = "EMA50"',
        'left = "is_primary", operation = "equal", right = true',
        'left = "name", operation = "match", right = "AA"',
        'left = "typespecs", operation = "has", right = ["common"]',
        'left = "typespecs", operation = "has_none_of", right = "preferred"',
        'left = "close", operation = "in_range", right = [5, 10]',
        'left = "sector", operation = "not_in_range", right = ["Finance"]',
        'left = "close", operation = "above%", right = ["SMA200", 1.5]',
        'left = "close", operation = "not_in_range%", right = ["SMA200", 1.5, 3]',
        'left = "earnings_release_next_date", operation = "in_day_range", right = [0, 5]',
        'left = "dividends_yield_current", operation = "nempty"',
    ],
)
def test_a_condition_of_the_scanner_is_accepted(repository: Path, condition: str):
    declare(repository, f'[scan]\nmarket = "america"\nfilter = [{{{condition}}}]\n')
    source = only(repository).source
    assert isinstance(source, Listing)
    assert len(source.filter) == 1


def in_scan(lines: str) -> str:
    return f'[scan]\nmarket = "america"\n{lines}\n'


def filtered(condition: str) -> str:
    return in_scan(f"filter = [{{{condition}}}]")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"mine\.toml: a universe has exactly one of .*; this has none of them"),
        (SCAN + "\n[x]\n", r"line 10: a universe has no key 'x'"),
        ("symbls = 'a.json'", r"line 1: a universe has no key 'symbls' \(did you mean symbols\?\)"),
        ("symbols = 'a'\nsymbolset = 'SYML:SP;SPX'", r"line 2: .* has symbols and symbolset"),
        ("symbols = 'a'\n" + SCAN, r"this has scan and symbols"),
        ("symbols = 5", r"line 1: symbols is the name of a file"),
        ("symbols = ''", r"line 1: symbols is the name of a file"),
        ("symbolset = 'SP:SPX'", r"line 1: 'SP:SPX' is no set of symbols: write it as SYML:SP;SPX"),
        ("symbolset = ['SYML:SP;SPX']", r"line 1: .* is no set of symbols"),
        ("scan = 'america'", r"line 1: scan is a table"),
        ("[scan]\nlimit = 5", r"line 1: \[scan\] has no market"),
        ("[scan]\nmarket = 5", r"line 2: market is a text"),
        ("[scan]\nmarket = 'amerika'", r"line 2: 'amerika' is no market .*mean america\?"),
        (in_scan("limits = 5"), r"line 3: \[scan\] has no key 'limits' \(did you mean limit\?\)"),
        (in_scan("limit = 0"), r"line 3: limit is a number from 1 to 100,000, not 0"),
        (in_scan("limit = true"), r"line 3: limit is a number"),
        (in_scan("limit = 5.0"), r"line 3: limit is a number"),
        (in_scan("sort = 'close'"), r"line 3: sort is a table"),
        (in_scan("sort = {order = 'asc'}"), r"line 3: sort does not say by what"),
        (in_scan("sort = {by = 'close', order = 'down'}"), r"line 3: order is asc or desc"),
        (in_scan("sort = {sortBy = 'close'}"), r"line 3: sort has no key 'sortBy'"),
        (
            in_scan("sort = {by = 'closed'}"),
            r"line 3: .* the column 'closed' in the market america",
        ),
        (in_scan("filter = {left = 'close'}"), r"line 3: filter is a list of tables"),
        (in_scan("[scan.filter]\nleft = 'close'"), r"line 3: filter is a list of tables"),
        (filtered("operation = 'empty'"), r"line 3: a condition has no left"),
        (filtered("left = 'close'"), r"line 3: a condition has no operation"),
        (filtered("left = 'close', op = 'less'"), r"line 3: a condition has no key 'op'"),
        (
            filtered("left = 'close', operation = 'larger', right = 5"),
            r"line 3: 'larger' is no operation of the scanner",
        ),
        (
            filtered("left = 'market_cap', operation = 'greater', right = 5"),
            r"line 3: .* the column 'market_cap' in the market america",
        ),
        (
            filtered("left = 'RSI|3', operation = 'greater', right = 5"),
            r"line 3: .* the column 'RSI\|3'",
        ),
        (
            filtered("left = 'funding_rate', operation = 'greater', right = 5"),
            r"the column 'funding_rate' in the market america",
        ),
        (
            filtered("left = 'close', operation = 'greater', right = 'SMA201'"),
            r"line 3: .* the column 'SMA201' in the market america \(did you mean SMA",
        ),
        (
            filtered("left = 'close', operation = 'greater'"),
            r"line 3: right of greater is a number or a column, not nothing",
        ),
        (filtered("left = 'close', operation = 'empty', right = 5"), r"right of empty is nothing"),
        (filtered("left = 'close', operation = 'less', right = [5]"), r"right of less is a number"),
        (filtered("left = 'close', operation = 'less', right = nan"), r"right of less is a number"),
        (
            filtered("left = 'close', operation = 'in_range', right = 5"),
            r"right of in_range is a l",
        ),
        (filtered("left = 'close', operation = 'in_range', right = []"), r"right of in_range is a"),
        (filtered("left = 'name', operation = 'match', right = 5"), r"right of match is a text"),
        (
            filtered("left = 'close', operation = 'above%', right = [5]"),
            r"right of above% is a list",
        ),
        ("symbols = 'a'\nmax_age = '7'", r"line 2: max_age is days or hours, as 7d or 36h"),
        ("symbols = 'a'\nmax_age = 7", r"line 2: max_age is days or hours"),
        ("symbols = 'a'\nmeaning = 7", r"line 2: meaning is a text of one line"),
        ("[scan]\nmarket = ", r"mine\.toml, line 2: this is not TOML: Invalid value"),
        ("a = 1\na = 2", r"mine\.toml, line 2: this is not TOML"),
        ("a = [[[", r"mine\.toml.*: this is not TOML"),
        ("a = 2021-13-45", r"mine\.toml.*: this is not TOML"),
        ("a = " + "[" * 5_000, r"mine\.toml.*: this is not TOML"),
        (b"meaning = '\xff'", r"mine\.toml: it is not UTF-8"),
    ],
)
def test_a_wrong_file_is_one_line_with_its_name(repository: Path, text: str | bytes, said: str):
    declare(repository, text)
    with pytest.raises(CatalogError, match=said) as caught:
        load_universes([repository / "universes"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["My Large.toml", "1st.toml", "america.toml", "crypto.toml"])
def test_a_name_that_would_be_read_otherwise_is_refused(repository: Path, name: str):
    declare(repository, SCAN, name)
    with pytest.raises(CatalogError, match=name.replace(".", r"\.")):
        load_universes([repository / "universes"])


def test_a_folder_in_a_files_place_is_refused(repository: Path):
    (repository / "universes" / "mine.toml").mkdir()
    with pytest.raises(CatalogError, match=r"mine\.toml: it cannot be read"):
        load_universes([repository / "universes"])


def test_all_wrong_files_are_named_at_once(repository: Path):
    declare(repository, "a = 1", "first.toml")
    declare(repository, SCAN, "second.toml")
    declare(repository, "symbols = 1", "third.toml")
    with pytest.raises(CatalogError, match=r"first\.toml, line 1: .*; .*third\.toml, line 1: "):
        Catalog.load(repository, lambda: SHIPPED)


def test_a_column_that_a_group_of_the_project_asks_for_is_known(repository: Path):
    (repository / "groups").mkdir()
    (repository / "groups" / "mine.py").write_text(
        "from ingestion.catalog import Column, FeatureGroup, Scanner\n"
        "GROUP = FeatureGroup(name='mine', meaning='m', source=Scanner(), ttl='2d', "
        "features=[Column('brand_new', meaning='b')])\n"
    )
    declare(repository, filtered("left = 'brand_new', operation = 'nempty'"))
    assert Catalog.load(repository, lambda: SHIPPED).universe("mine") is not None


def test_files_that_begin_with_an_underscore_are_drafts(repository: Path):
    declare(repository, "nonsense", "_draft.toml")
    assert load_universes([repository / "universes"]) == ()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_workspace(tmp_path / "workspace")
    (folder / "feature_repo" / "universes").mkdir()
    monkeypatch.setenv("TVFEAST_PROJECT", str(folder))
    return folder / "feature_repo"


def test_the_catalog_lists_universes(workspace: Path):
    declare(workspace, SCAN, "us_large.toml")
    told = json.loads(CliRunner().invoke(cli, ["catalog", "--json"]).stdout)
    assert [each["source"] for each in told["universes"] if each["name"] == "us_large"] == [
        "the first 500 by market_cap_basic of the market america, 2 conditions"
    ]
    assert "us_large" in CliRunner().invoke(cli, ["catalog"]).stdout


def test_the_check_reads_the_files_of_symbols(workspace: Path):
    declare(workspace, 'symbols = "mine.json"\n')
    result = CliRunner().invoke(cli, ["catalog", "check"])
    assert result.exit_code != 0
    assert "the universe mine: the candidates file" in result.stdout
    (workspace / "universes" / "mine.json").write_text('["NASDAQ:AAPL"]')
    result = CliRunner().invoke(cli, ["catalog", "check"])
    assert result.exit_code == 0
    assert "2 universes" in result.stdout


def test_loading_universes_imports_nothing_large(workspace: Path):
    declare(workspace, SCAN, "us_large.toml")
    code = (
        "import sys\nfrom pathlib import Path\nfrom ingestion.catalog import Catalog\n"
        "from ingestion.formulas import SHIPPED\n"
        "catalog = Catalog.load(Path(sys.argv[1]), lambda: SHIPPED)\n"
        "assert catalog.universe('us_large'), catalog\n"
        "print(sorted({'pyarrow', 'pandas', 'feast'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(workspace)], capture_output=True, text=True, timeout=60
    )
    assert run.stdout.strip() == "[]", run.stderr


def test_the_vocabulary_has_what_the_recorded_metainfo_has():
    assert is_column("market_cap_basic", "america")
    assert not is_column("market_cap_basic", "crypto")
    assert is_column("galaxyscore", "coin")
    assert is_column("RSI[1]|60", "forex")
    assert not is_column("RSI|60", "futures")
    assert not is_column("RSI|1D", "america")
    assert len(columns()) == 1_412
    assert {"america", "coin", "global", "uk"} <= MARKETS
    assert len(OPERATIONS) == 25
