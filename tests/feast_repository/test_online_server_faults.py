"""Commands whose online store is on a server that is away, dies, or is cut off meanwhile."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import pytest

from ingestion.project import Project
from tests.feast_repository.conftest import WEEK
from tests.processes import Command, Ended, Forge, project_of
from tests.stores.online_servers import at_length, short_folder
from tests.stores.proxy import ANSWERED, ASKED
from tests.stores.test_server_faults import PASSWORD, Place, running
from tests.tally import faults

pytestmark = [pytest.mark.faults, at_length]

COMMANDS = (
    *(("select",), ("select", "--json"), ("materialize",), ("verify", "--online"), ("rebuild",)),
    *(("status",), ("report",), ("explain", "NASDAQ:AAPL", "RSI")),
)


@dataclass
class Served:
    """A project whose online store is on a server, behind a proxy."""

    project: Project
    place: Place
    run: Callable[..., Ended]


@pytest.fixture(params=["redis", "postgres"])
def served(
    request: pytest.FixtureRequest, writable_week: Project, forge: Forge
) -> Iterator[Served]:
    with short_folder() as folder, running(request.param, folder) as place:
        yaml = writable_week.feast_repository / "feature_store.yaml"
        before, _, after = yaml.read_text().partition("online_store:\n")
        others = after[re.search(r"^\S", after, re.MULTILINE).start() :]
        store = json.dumps(place.settings(place.proxy.port) | {"timeout_s": 5})
        yaml.write_text(f"{before}online_store: {store}\n{others}")

        def run(*words: str, now: datetime = WEEK[-1]) -> Ended:
            ended = forge.start(Command(*words), project_of(writable_week, now)).wait()
            assert PASSWORD not in ended.out + ended.err
            assert "Traceback" not in ended.out + ended.err, ended
            return ended

        yield Served(writable_week, place, run)
        told = [*writable_week.lakehouse_at.glob("_runs/**/*.json*")]
        told += writable_week.log_folder.glob("*") if writable_week.log_folder.exists() else []
        assert not [each for each in told if PASSWORD.encode() in each.read_bytes()]


def done(ended: Ended) -> Ended:
    assert ended.code == 0, ended
    return ended


def test_each_command_says_in_one_line_that_the_server_is_away(served: Served):
    done(served.run("materialize"))
    served.place.server.kill()
    for words in COMMANDS:
        ended = served.run(*words)
        # What the lakehouse says is told all the same: the page answers no.
        tells_more = words[0] in ("report", "explain")
        assert ended.code in ((0,) if tells_more else (2, 3)), (words, ended)
        assert words != ("report",) or ended.out.startswith("No: "), ended
        assert "is the server running" in ended.out + ended.err, (words, ended)
        if ended.code == 2:
            assert ended.line.startswith("tvfeast: "), (words, ended)
        faults["commands without their server"] += 1
    served.place.server.start()
    done(served.run("verify", "--online"))


def test_a_server_that_dies_in_a_load_has_the_old_rows_or_the_new_ones(served: Served):
    def selected(day: int) -> object:
        return done(served.run("select", "--json", now=WEEK[day])).json["rows"]

    done(served.run("materialize", now=WEEK[3]))
    served.place.proxy.disarm()
    done(served.run("materialize", now=WEEK[3]))
    sent = served.place.proxy.passed[ASKED]
    old = selected(3)
    for part in (0.1, 0.5, 0.9):
        served.place.proxy.arm(ASKED, int(sent * part), served.place.server.kill)
        ended = served.run("materialize")
        assert not served.place.proxy.disarm()
        assert ended.code == 2, ended
        assert ended.line.startswith("tvfeast: "), ended
        served.place.server.start()
        assert selected(3) == old or done(served.run("verify", "--online"))
        faults["servers killed in a load"] += 1
    done(served.run("materialize"))
    done(served.run("verify", "--online"))
    new = selected(4)
    assert new != old
    for part in (0.2, 0.9):
        served.place.proxy.disarm()
        assert selected(4) == new
        length = served.place.proxy.passed[ANSWERED]
        served.place.proxy.arm(ANSWERED, int(length * part), served.place.server.kill)
        ended = served.run("select", "--json")
        assert not served.place.proxy.disarm()
        assert ended.code == 2 or ended.json["rows"] == new, ended
        served.place.server.start()
    assert selected(4) == new
