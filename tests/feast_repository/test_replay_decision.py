"""A decision is shown as it was, beside today's view of it, with what was planted in between."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.base.errors import InputError
from ingestion.catalog import FEEDS, UNIVERSE_MEMBERS
from ingestion.cli.commands import cli
from ingestion.cli.decisions import replay_text
from ingestion.feast_objects import describe
from ingestion.jobs.compute.local_features import backfill, local_features
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.import_features import import_features
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.ranking import rank
from ingestion.jobs.serve.reasons_of_moves import Difference, Reasons, Seen
from ingestion.jobs.serve.recorded_selection import select_and_record
from ingestion.jobs.serve.replay_decision import ReplayedDecision, replay_decision
from ingestion.jobs.serve.select import SelectRequest
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_rows
from ingestion.project import Project
from tests.conftest import MONDAY, SAMPLE

GROUPS = """
from ingestion.catalog import Column, FeatureGroup, Files, FromBars

MINE = FeatureGroup(
    name="mine",
    meaning="scores of another program",
    source=Files(),
    ttl="{ttl}",
    features=[Column("score", meaning="s", low=0, high=1), Column("beta", meaning="b")],
)
SNAPPED = FeatureGroup(
    name="snapped",
    meaning="scores of bars that may be open",
    source=Files(),
    ttl="4d",
    features=[Column("grade", meaning="g")],
)
OWN = FeatureGroup(
    name="own_1d", meaning="…", source=FromBars(), ttl="12d", features=["returns_1d", "gap"]
)
"""
FORMULA = """
from ingestion.formulas import formula, ratio, shift


@formula("gap", "open ÷ previous close − 1", look_back=1, low=-1)
def gap(bars):
    return ratio(bars.open, shift(bars.close, 1)) - {constant}
"""
BARS = ["BINANCE:BTCUSDT", "NASDAQ:AAPL", "NYSE:XOM"]
DAY = timedelta(days=1)
FRIDAY, EVENT = (datetime(2021, 4, day, 20, tzinfo=UTC) for day in (9, 12))
DECISION, TODAY = MONDAY, MONDAY + 3 * DAY
SNAPPED = datetime(2021, 4, 12, 20, 25, tzinfo=UTC)
"""When feeds as usual for the exchange were final, five minutes ago, and slower ones were not."""
FIRST = {"A": 0.9, "B": 0.8, "C": 0.7, "D": 0.6, "E": 0.5, "F": 0.4, "G": 0.3, "H": 0.2}
GRADES = [("A", 3.0), ("B", 2.0)]
OF_CLOSED = DECISION - timedelta(minutes=10)
CLOSED = SelectRequest(by="snapped:grade", closed_only=True)
NAMES = {f"NYSE:{name}": score for name, score in FIRST.items()}


def scores(project: Project, place: Path, event: datetime, of: dict[str, float], **beta: float):
    lines = ["symbol,event_timestamp,score,beta"]
    lines += [f"NYSE:{n},{event.isoformat()},{score},{beta.get(n, 1.0)}" for n, score in of.items()]
    place.write_text("\n".join(lines) + "\n")
    return import_features(project, "mine", [place])


def member(name: str, created: datetime, first: int, last: int) -> dict[str, object]:
    since = datetime(2021, 4, first, tzinfo=UTC)
    return {
        "universe": "u",
        "symbol": f"NYSE:{name}",
        "valid_from": since,
        "valid_until": datetime(2021, 4, last, tzinfo=UTC),
        "event_timestamp": since,
        "created_timestamp": created,
        "source": "import",
    }


def bars(folder: Path, symbols: list[str], factor: float) -> ImportRequest:
    """The sample's bars of two months before the decision, their prices times a factor."""
    rows = pq.read_table(SAMPLE / "bars.parquet")
    opened = pc.field("timestamp")
    recent = (opened > DECISION.timestamp() - 60 * 86_400) & (opened < DECISION.timestamp())
    rows = rows.filter(recent & pc.field("symbol").isin(symbols))
    place = rows.column_names.index("open")
    rows = rows.set_column(place, "open", pc.multiply(rows["open"], factor))
    rows = rows.set_column(place + 1, "high", pc.multiply(rows["high"], 1.5))
    pq.write_table(rows, folder / "bars.parquet")
    return ImportRequest((folder / "bars.parquet",), restate=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which a selection was made, and after which each kind of change was planted."""
    folder = make_workspace(tmp_path_factory.mktemp("decided") / "workspace")
    declare(folder)
    file = folder / "scores.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_PROJECT", str(folder))
        patch.setenv("TVFEAST_NOW", (DECISION - timedelta(hours=1)).isoformat())
        project = Project.from_environment()
        import_bars(project, bars(folder, BARS, 1.0))
        local_features(project)
        scores(project, file, FRIDAY, FIRST)
        # Of Monday, B and E have no row yet, and C's breaks a bound.
        of_monday = {"A": 0.5, "C": 1.5, "D": 0.62, "F": 0.42, "G": 0.32, "H": 0.22}
        assert scores(project, file, EVENT, of_monday).quarantined == 1
        before = [member(name, DECISION - 3 * DAY, 1, 30) for name in "ABCDEGHI"]
        append_rows(project.lakehouse, UNIVERSE_MEMBERS, before, "members")
        lines = [f"NYSE:{name},{SNAPPED.isoformat()},2021-04-12T13:30Z,{g}" for name, g in GRADES]
        file.write_text("\n".join(["symbol,event_timestamp,bar_timestamp,grade", *lines]))
        import_features(project, "snapped", [file])
        materialize(project)
        patch.setenv("TVFEAST_NOW", OF_CLOSED.isoformat())
        select_and_record(project, CLOSED)
        patch.setenv("TVFEAST_NOW", (DECISION - timedelta(minutes=5)).isoformat())
        # Not materialized before it is selected by: another value of G, and all of I.
        scores(project, file, EVENT, {"G": 0.35, "I": 0.05})
        patch.setenv("TVFEAST_NOW", DECISION.isoformat())
        select_and_record(project, SelectRequest(by="mine:score", universe="u"))
        patch.setenv("TVFEAST_NOW", (DECISION + DAY).isoformat())
        scores(project, file, EVENT, {"A": 0.95, "B": 0.81, "C": 0.71, "E": 0.1, "F": 0.43})
        left = [member("D", DECISION + DAY, 1, 10), member("F", DECISION + DAY, 10, 30)]
        append_rows(project.lakehouse, UNIVERSE_MEMBERS, left, "later")
        slow = {"update_mode": "delayed_streaming_1800", "observed_at": SNAPPED}
        append_rows(project.lakehouse, FEEDS, [{"symbol": "NYSE:A", **slow}], "later")
        import_bars(project, bars(folder, BARS[2:], 1.1))
        local_features(project)
        patch.setenv("TVFEAST_NOW", (DECISION + 2 * DAY).isoformat())
        scores(project, file, EVENT, {"E": 0.52})
        declare(folder, constant="0.5")
        backfill(Project.from_environment(), FRIDAY.date(), EVENT.date())
    return folder


def declare(folder: Path, constant: str = "1", ttl: str = "4d") -> None:
    for name, content in (
        ("groups/own.py", GROUPS.format(ttl=ttl)),
        ("formulas/own.py", FORMULA.format(constant=constant)),
    ):
        place = folder / "feature_repo" / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(content)
    (folder / "feature_repo" / "groups.toml").write_text('groups = ["mine", "snapped", "own_1d"]\n')


@pytest.fixture
def project(made: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TVFEAST_PROJECT", str(made))
    monkeypatch.setenv("TVFEAST_NOW", TODAY.isoformat())
    return Project.from_environment()


def moved(replayed: ReplayedDecision) -> dict[str, tuple[object, ...]]:
    """Ranks and values of then and now, and the kinds of reasons, by the symbol's last letter."""
    return {
        each.symbol.partition(":")[2]: (
            (each.rank_then, each.rank_now),
            (each.value_then, each.value_now),
            [str(why.kind) for why in each.reasons],
        )
        for each in replayed.moves
    }


ASKED = SelectRequest(by="mine:score", universe="u", top=20)


@pytest.fixture(scope="module")
def replayed(made: Path) -> ReplayedDecision:
    """Another question than the one that was kept, so nothing recorded counts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_PROJECT", str(made))
        patch.setenv("TVFEAST_NOW", TODAY.isoformat())
        asked = SelectRequest(by="mine:score", universe="u", top=19)
        return replay_decision(Project.from_environment(), DECISION, asked)


def test_what_was_known_then_is_compared_with_what_is_known_now(replayed: ReplayedDecision):
    assert replayed.recorded is None
    # Then: B 0.8 C 0.7 D 0.62 A 0.5 E 0.5 G 0.35 H 0.22; now: A .95 B .81 C .71 E .52 F .43 G H.
    assert moved(replayed) == {
        "A": ((4, 1), (0.5, 0.95), ["restated"]),
        "B": ((1, 2), (0.8, 0.81), ["late"]),
        "C": ((2, 3), (0.7, 0.71), ["quarantined"]),
        "D": ((3, None), (0.62, None), ["membership"]),
        "E": ((5, 4), (0.5, 0.52), ["late", "restated"]),
        "F": ((None, 5), (None, 0.43), ["membership", "restated"]),
    }
    assert (replayed.asked_then, replayed.asked_now) == (8, 8)


def test_each_reason_says_when_and_by_what(project: Project, replayed: ReplayedDecision):
    moves = {each.symbol: each for each in replayed.moves}
    told = {name: "; ".join(map(str, each.reasons)) for name, each in moves.items()}
    assert told["NYSE:A"] == "restated: score 0.5 → 0.95, 2021-04-13 21:30"
    assert told["NYSE:B"] == "late: the row of 2021-04-12 20:00 was written 2021-04-13 21:30"
    assert told["NYSE:C"] == (
        "quarantined: the row of 2021-04-12 20:00 broke score bounds, and came 2021-04-13 21:30"
    )
    assert told["NYSE:D"] == "membership: a member of u as known then, no member as known now"
    at = "2021-04-12T21:30:00Z"
    assert moves["NYSE:A"].more == (f"tvfeast explain NYSE:A mine:score --as-of {at}",)
    assert moves["NYSE:D"].more == (f"tvfeast universe show u --as-of {at}",)
    for each in moves.values():
        for command in each.more:
            result = CliRunner().invoke(cli, command.split()[1:])
            assert result.exit_code == 0, (command, result.output)


def test_the_selection_that_was_kept_is_shown_as_it_was(
    project: Project, replayed: ReplayedDecision
):
    kept = replay_decision(project, DECISION, SelectRequest())
    assert kept.recorded is not None
    assert (kept.at, kept.by) == (DECISION, "score")
    # The online store had G's first row of Monday: 0.32, and not 0.35.
    assert moved(kept)["G"] == ((6, 6), (0.32, 0.35), ["not served yet"])
    assert moved(kept)["I"] == ((None, 8), (0.05, 0.05), ["not served yet"])
    assert {k: v for k, v in moved(kept).items() if k not in "GI"} == moved(replayed)
    # The same question by its date, and another instant of that date.
    assert replay_decision(project, DECISION + timedelta(hours=1), ASKED, whole_day=True) == kept
    assert replay_decision(project, DECISION + timedelta(hours=1), ASKED).recorded is None


def test_of_a_clean_date_nothing_differs(project: Project):
    replayed = replay_decision(project, TODAY, SelectRequest(by="mine:score"))
    assert replayed.moves == ()
    text = replay_text(replayed)
    assert "nothing differs: 9 of 9 symbols listed then, 9 of 9 now" in text


def test_a_symbol_whose_values_are_the_same_moves_with_the_others(project: Project):
    replayed = replay_decision(project, DECISION, SelectRequest(by="mine:score"))
    assert moved(replayed)["D"] == ((3, 4), (0.62, 0.62), ["others moved"])
    assert replayed.moves[-1].symbol == "NYSE:D"  # after those with a reason of their own


def test_a_bar_that_is_found_to_have_been_open_leaves_its_symbol_out(project: Project):
    """That A's feed was slower was stored after the selection; no row of A's differs."""
    replayed = replay_decision(project, OF_CLOSED, CLOSED)
    assert replayed.recorded is not None
    assert moved(replayed) == {
        "A": ((1, None), (3.0, 3.0), ["left out"]),
        "B": ((2, 1), (2.0, 2.0), ["others moved"]),
    }
    assert [str(why) for why in replayed.moves[0].reasons] == ["left out: now: bar still open"]


def test_what_no_row_explains_is_named_as_such(project: Project):
    """H has no row since. Both views are read from the same parts, so only a lakehouse that changes
    between the two reads, against its rules, comes to this."""
    would = rank(project, replace(ASKED, as_of=DECISION, known_at=DECISION))
    reasons = Reasons(project, would, DECISION, "u", frozenset())
    then = Seen(7, None, {"score": 0.22}, is_asked=True)
    now = replace(then, rank=6, values={"score": 0.3})
    ((why,),) = reasons.of([Difference("NYSE:H", then, then, now)])
    assert str(why) == "not explained: another value of score, and no new row"


def test_another_formula_and_a_restated_bar_are_told_apart(project: Project):
    asked = SelectRequest(by="own_1d:gap")
    replayed = moved(replay_decision(project, DECISION, asked))
    kinds = {name: kinds for name, (*_, kinds) in replayed.items()}
    assert kinds == {
        "AAPL": ["changed definition"],
        "BTCUSDT": ["changed definition"],
        "XOM": ["restated", "changed definition"],
    }
    for then, now in (values for _, values, _ in replayed.values()):
        assert then != now


def test_another_ttl_moves_symbols_whose_values_are_the_same(project: Project, made: Path):
    from feast import FeatureStore

    declare(made, constant="0.5", ttl="1h")
    try:
        other = Project.from_environment()
        FeatureStore(repo_path=str(other.feast_repository)).apply(describe(other).objects)
        replayed = replay_decision(other, DECISION, SelectRequest())
    finally:
        declare(made, constant="0.5")
        FeatureStore(repo_path=str(project.feast_repository)).apply(describe(project).objects)
    assert moved(replayed)["H"] == ((7, None), (0.22, None), ["changed definition"])


def test_a_decision_of_the_future_and_one_of_nothing_known_are_refused(project: Project):
    with pytest.raises(InputError, match="is in the future"):
        replay_decision(project, TODAY + DAY, ASKED)
    with pytest.raises(InputError, match=r"no row of mine had been created .* first one was at"):
        replay_decision(project, FRIDAY, SelectRequest(by="mine:score"))


def test_the_command_prints_one_line_per_symbol(project: Project):
    result = CliRunner().invoke(cli, ["replay-decision", "2021-04-12"])
    assert result.exit_code == 0, result.output
    document = json.loads(
        CliRunner().invoke(cli, ["replay-decision", "2021-04-12", "--json"]).stdout
    )
    assert document["kinds"]["membership"] == 2
    by_letter = {each["symbol"][-1]: each for each in document["moves"]}
    assert (by_letter["E"]["rank_then"], by_letter["E"]["rank_now"]) == (5, 4)
    assert [why["kind"] for why in by_letter["E"]["reasons"]] == ["late", "restated"]
    lines = result.stdout.splitlines()
    for letter in "ABCDEFG":
        [line] = [each for each in lines if each.split()[2:3] == [f"NYSE:{letter}"]]
        assert "tvfeast " in line
    csv = CliRunner().invoke(cli, ["replay-decision", "2021-04-12", "--format", "csv"]).stdout
    assert csv.splitlines()[0] == "then,now,symbol,value_then,value_now,why,more"
