from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.cli.commands import cli
from ingestion.cli.options import AS_OF, DAY, DURATION, HEADER, INSTANT, LIMIT
from ingestion.project import Project
from ingestion.replay import FaultPlan, ReplayScanner
from tests.conftest import MONDAY, SAMPLE
from tests.processes import Command, Ended, Forge, project_of

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = sorted(cli.list_commands())
CANDIDATES = str(SAMPLE / "portfolio_candidates.json")
SPAN = ["--from", "2021-01-04", "--to", "2021-02-01"]


class Shell:
    """Runs commands on one project, each in a process of its own."""

    def __init__(self, settings: Project, forge: Forge) -> None:
        self._settings, self._forge = settings, forge

    def __call__(self, *words: str, **environment: str) -> Ended:
        variables = project_of(self._settings, MONDAY)
        return self._forge.start(Command(*words), variables | environment).wait()


@pytest.fixture
def run(settings: Project, forge: Forge) -> Shell:
    return Shell(settings, forge)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_has_help(command: str):
    result = CliRunner().invoke(cli, [command, "--help"])
    assert result.exit_code == 0
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    assert found.help
    for parameter in found.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{command} --{parameter.name}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_a_target_of_the_makefile_and_in_the_readme(command: str):
    assert re.search(rf"^{command}: .*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert command in (ROOT / "README.md").read_text()


def test_help_imports_nothing_heavy():
    """What keeps `--help` under 0.3 s, told without a clock; of all commands, one after another."""
    script = (
        "import sys\n"
        "from ingestion.cli import main\n"
        f"for command in [[], *([each] for each in {COMMANDS!r})]:\n"
        "    sys.argv = ['tvfeast', *command, '--help']\n"
        "    try: main()\n"
        "    except SystemExit: pass\n"
        "heavy = {'feast', 'pyarrow', 'pandas', 'numpy', 'requests', 'exchange_calendars',\n"
        "         'json', 'tempfile', 'subprocess', 'ingestion.catalog', 'ingestion.project'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_json_is_one_object_on_stdout_and_nothing_else(run: Shell):
    done = run("feature-ingest", "--candidates", CANDIDATES, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["report"]["fetched"] == 60
    assert done.err == ""


def test_no_progress_bar_but_on_a_terminal(run: Shell):
    done = run("feature-ingest", "--candidates", CANDIDATES)
    assert done.err == ""
    assert "60 rows known at 2021-04-12 21:30 UTC" in done.out


def test_bad_candidates_are_told_by_number_and_the_good_ones_fetched(run: Shell, tmp_path: Path):
    path = tmp_path / "mine.json"
    path.write_text('["NASDAQ:AAPL",\n"aapl"]')
    done = run("feature-ingest", "--candidates", str(path))
    assert done.code == 0
    assert "mine.json, entry 2: 'aapl'" in done.err
    assert "1 row known at" in done.out


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "told"),
    [
        (["feature-ingest"], {}, 2, "--candidates"),
        (["feature-ingest", "--candidates", "/none.json"], {}, 2, "/none.json"),
        (["feature-ingest", "--candidates", CANDIDATES, "--universe", "x"], {}, 2, "either"),
        (["feature-ingest", "--universe", "germay"], {}, 2, "germay"),
        (["feature-ingest", "--candidates", CANDIDATES, "--resume-window", "2"], {}, 2, "2h"),
        (["feature-ingest", "--candidates", CANDIDATES], {"TVFEAST_NOW": "x"}, 2, "TVFEAST_NOW"),
        (["feature-ingest", "--universe", "x"], {"TVFEAST_SCANNER_URL": "x"}, 2, "SCANNER_URL"),
        (["select", "--min", "ADX"], {}, 2, "ADX=25"),
        (["select", "--as-of", "2031-01-01"], {}, 2, "in the future"),
        (["select"], {}, 2, "flow-data"),
        (["select", "--from-group", "local_1d"], {}, 2, "local-features"),
        (["select", "--from-group", "ohlcv_1d"], {}, 2, "local_1d"),
        (["materialize"], {}, 2, "feature-ingest"),
        (["training-set", "--labels", "/none.csv"], {}, 2, "/none.csv"),
        (["replay-scanner", "--fail", "nonsense"], {}, 2, "nonsense"),
        (["replay-scanner", "--bars", "/none"], {}, 2, "/none"),
        (["nonsense"], {}, 2, "nonsense"),
        (["feature-ingest", "--universe", "x", "--read-timeout", "0"], {}, 2, "read-timeout"),
        (["feature-ingest", "--universe", "x", "--min-coverage", "nan"], {}, 2, "min-coverage"),
        (["feature-ingest", "--universe", "x", "--backoff", "-1"], {}, 2, "backoff"),
        (["feature-ingest", "--universe", "x"], {"TVFEAST_SCANNER_URL": "http://["}, 2, "http://["),
        (["feature-ingest", "--universe", "x"], {"TVFEAST_LAKEHOUSE": "/etc/passwd"}, 2, "passwd"),
        (["select", "--as-of", "0001-01-01"], {}, 2, "0001-01-01"),
        (["training-set"], {}, 2, "--target"),
        (["training-set", "--target", "fwd_return_5d"], {}, 2, "--from"),
        (
            ["training-set", "--target", "fwd_return_5d", *SPAN, "--feature", "RSII"],
            {},
            2,
            "mean RSI?",
        ),
        (["import-bars"], {}, 2, "files"),
        (["backfill", "--from", "2021-01-01", "--to", "2021-02-30"], {}, 2, "2021-02-30"),
        (["backfill", "--from", "2021-01-01", "--to", "2021-02-01"], {}, 2, "import-bars"),
        (["parity"], {}, 2, "flow-data"),
        (["parity", "--tolerance", "2"], {}, 2, "tolerance"),
        (["verify", "--lookahead"], {}, 2, "import-bars"),
        (["validate"], {}, 2, "feature-ingest"),
        (["data-docs"], {}, 2, "feature-ingest"),
    ],
)
def test_bad_usage_is_told_in_a_line_with_exit_code_2(
    run: Shell, arguments, environment, code, told
):
    done = run(*arguments, **environment)
    assert done.code == code
    assert told in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_a_gate_ends_with_3_no_rows_with_4_and_a_lock_with_5(
    run: Shell, settings: Project, scanner: ReplayScanner, tmp_path: Path
):
    from ingestion.lakehouse import lakehouse_lock

    path = tmp_path / "mine.json"
    ask = ("feature-ingest", "--candidates", str(path))
    path.write_text('["NASDAQ:AAPL", "X:GONE"]')
    assert run(*ask).code == 3
    path.write_text('["X:GONE"]')
    assert run(*ask).code == 4
    with lakehouse_lock(settings.lakehouse, "other"):
        assert run(*ask).code == 5


def test_an_import_of_which_much_is_refused_writes_the_rest_and_ends_with_3(
    run: Shell, tmp_path: Path
):
    header = "date,open,high,low,close,volume\n"
    (tmp_path / "aapl.us.csv").write_text(f"{header}2021-03-02,10,12,9,11,1\n")
    (tmp_path / "prices.csv").write_text(f"{header}2021-03-02,10,12,9,11,1\n")
    names = [str(tmp_path / name) for name in ("aapl.us.csv", "prices.csv")]
    done = run("import-bars", *names, "--exchange", "NASDAQ", "--json")
    assert done.code == 3
    document = json.loads(done.out)
    assert document["written"] == 1
    assert {each["file"]: each["named"] for each in document["files"]} == {
        names[0]: "NASDAQ:AAPL",
        names[1]: None,
    }
    assert list(document["refused_files"]) == names[1:]
    assert "1 of 2 files were refused; the others are written" in done.err
    shown = run("import-bars", *names, "--exchange", "NASDAQ").out
    assert "NASDAQ:AAPL (aapl.us.csv)" in shown
    assert "prices.csv has no column of symbols, and its name names none" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["feature-ingest", "--candidates", "/none.json"], 2, "/none.json cannot be read"),
        (["feature-ingest", "--candidates", CANDIDATES, "--retries", "x"], 2, "'--retries'"),
        (["feature-ingest", "--candidates", "GONE"], 4, "no rows came"),
        (["status"], 3, None),
        (["select", "--top", "many"], 2, "'--top'"),
        (["select", "--unknown"], 2, "--unknown"),
        (["no-such-command"], 2, "no-such-command"),
    ],
)
def test_with_json_an_error_is_one_object_too_unless_the_command_has_reported(
    run: Shell, tmp_path: Path, arguments: list[str], code: int, told: str | None
):
    path = tmp_path / "gone.json"
    path.write_text('["X:GONE"]')
    words = [str(path) if word == "GONE" else word for word in arguments]
    done = run(*words, "--json")
    document = json.loads(done.out)
    assert done.code == code
    if told is None:
        assert document["passed"] is False
    else:
        assert document["exit_code"] == code
        assert told in document["error"]
        assert document["error"] in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("--format", "json"),
        ("--format=json",),
        ("--format", "json", "--by", "NOTHING"),
        ("--format", "json", "--top", "-1"),
        ("--format", "json", "--json"),
    ],
)
def test_an_error_is_an_object_by_whatever_option_json_is_asked_for(
    run: Shell, words: tuple[str, ...]
):
    done = run("select", *words)
    document = json.loads(done.out)
    assert document["exit_code"] == done.code == 2
    assert document["error"] in done.err


@pytest.mark.parametrize("words", [("--format", "table"), ("--format", "csv"), ()])
def test_an_error_is_no_object_where_no_json_is_asked_for(run: Shell, words):
    done = run("select", *words)
    assert (done.code, done.out) == (2, "")


def run_broken(settings: Project, folder: Path, break_it: str, *words: str):
    """Run a command of which a script has changed something before."""
    script = folder / "broken.py"
    command = f"from ingestion.cli import main\nsys.argv = {['tvfeast', *words]!r}\nmain()"
    script.write_text(f"import sys\n{break_it}\n{command}")
    return subprocess.run(
        [sys.executable, str(script)],
        env={"TVFEAST_PROJECT": str(settings.folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_interrupted_command_says_so_in_json_too(settings: Project, tmp_path: Path):
    interrupt = (
        "import os, signal\nimport ingestion.jobs.audit.compact as job\n"
        "job.compact = lambda *_: os.kill(os.getpid(), signal.SIGINT)"
    )
    done = run_broken(settings, tmp_path, interrupt, "compact", "--json")
    assert done.returncode == 130
    assert json.loads(done.stdout) == {"error": "interrupted", "exit_code": 130}


def test_a_folder_that_may_not_be_written_is_told_with_what_to_do(
    settings: Project, tmp_path: Path
):
    deny = (  # whoever runs the tests may have every right
        "import ingestion.jobs.audit.compact as job\n"
        "def denied(*_): raise PermissionError(13, 'Permission denied', '/mine/_lock')\n"
        "job.compact = denied"
    )
    done = run_broken(settings, tmp_path, deny, "compact", "--json")
    assert done.returncode == 2
    assert "/mine/_lock: Permission denied; run as the user whose it is" in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 2


def test_an_internal_error_is_one_line_and_a_log(settings: Project, tmp_path: Path):
    fail = (
        "import ingestion.jobs.ingest.feature_ingest as job\njob.feature_ingest = lambda *_: 1 / 0"
    )
    words = ("feature-ingest", "--header", "Cookie: s3cret", "--candidates", CANDIDATES)
    done = run_broken(settings, tmp_path, fail, *words)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    log = settings.folder / "data" / "logs" / "tvfeast.log"
    assert str(log) in done.stderr
    assert "ZeroDivisionError" in log.read_text()
    assert "s3cret" not in log.read_text()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_the_hosts_time_zone_does_not_show(run: Shell, zone: str):
    """From ingest to selection: the same instants as on a host in UTC."""
    assert run("flow-data", "--candidates", CANDIDATES, TZ=zone).code == 0
    for arguments in (["select"], ["select", "--as-of", MONDAY.isoformat()]):
        done = run(*arguments, "--json", "--top", "60", TZ=zone)
        rows = json.loads(done.out)["rows"]
        assert len(rows) == 60
        assert {row["known_at"] for row in rows} == {MONDAY.isoformat()}
        assert {row["bar_open"] for row in rows} == {
            "2021-04-12T13:30:00+00:00",
            "2021-04-11T00:00:00+00:00",
        }


def test_a_csv_without_rows_still_has_its_header(run: Shell):
    run("flow-data", "--candidates", CANDIDATES)
    done = run("select", "--min", "RSI=100", "--format", "csv")
    assert done.out.startswith("symbol,Recommend.All,")
    assert len(done.out.splitlines()) == 1
    assert "left out" in done.err


def test_bars_become_features_and_a_training_set(run: Shell, tmp_path: Path):
    out = tmp_path / "training.parquet"
    imported = run("import-bars", str(SAMPLE / "bars.parquet"), "--json")
    assert json.loads(imported.out)["written"] == 27_564, imported.err
    span = ("--from", "2021-03-01", "--to", "2021-03-31")
    filled = json.loads(run("backfill", *span, "--json").out)
    assert filled["rows_written"] > 1_000
    assert run("materialize").code == 0
    late = run(
        "training-set", "--target", "fwd_return_5d", "--from", "2021-04-12", "--to", "2021-04-12"
    )
    assert (late.code, late.out) == (2, "")
    assert " has a label (without: " in late.err
    assert "no_full_window): give another --from or --to" in late.err
    done = run("training-set", "--target", "fwd_return_5d", *span, "--out", str(out), "--json")
    document = json.loads(done.out)
    assert document["rows"] == document["matched"] == filled["rows_written"]
    assert "survivors" in done.err
    made = json.loads(Path(document["receipt"]).read_bytes())["request"]["made"]
    assert (made["target"], made["first"], made["entry"]) == ("fwd_return_5d", span[1], "open")
    assert (
        made["labels"]["decisions"]
        == made["labels"]["dropped"]["no_full_window"] + document["rows"]
    )
    table = pq.read_table(out)
    assert table.column_names[:5] == [
        *("symbol", "event_timestamp", "fwd_return_5d"),
        *("label_start_timestamp", "label_end_timestamp"),
    ]
    assert len(table.column_names) == 5 + 17


def test_the_scanners_bars_and_metadata_are_ingested(run: Shell, tmp_path: Path):
    bars = run("data-ingest", "--candidates", CANDIDATES, "--json")
    document = json.loads(bars.out)
    assert (bars.code, bars.err) == (0, "")
    assert (document["report"]["fetched"], document["bars"]["written"]) == (60, 60)
    metadata = run("meta-ingest", "--universe", "america")
    assert "56 new symbols" in metadata.out, metadata.err
    for command in ("data-ingest", "meta-ingest"):
        asked = tmp_path / "mine.json"
        asked.write_text('["NASDAQ:AAPL", "X:GONE"]')
        assert run(command, "--candidates", str(asked)).code == 3
        asked.write_text('["X:GONE"]')
        assert run(command, "--candidates", str(asked)).code == 4
        assert run(command).code == 2


def test_the_universe_of_a_time_needs_symbols_and_a_target(run: Shell, tmp_path: Path):
    labels = tmp_path / "labels.csv"
    labels.write_text("symbol,event_timestamp,y\nNASDAQ:AAPL,2021-04-12T21:30Z,1\n")
    done = run("training-set", "--labels", str(labels), "--universe-as-of")
    assert (done.code, done.out) == (2, "")
    assert "--target" in done.err
    span = ("--from", "2021-03-01", "--to", "2021-03-31", "--universe-as-of")
    done = run("training-set", "--target", "fwd_return_5d", *span)
    assert done.code == 2
    assert "meta-ingest" in done.err


def test_a_damaged_part_fails_verify_and_an_unloaded_store_fails_status(
    run: Shell, settings: Project
):
    ingested = run("feature-ingest", "--candidates", CANDIDATES, "--json")
    part = Path(json.loads(ingested.out)["part"])
    assert run("verify").code == 0
    done = run("status", "--json")
    assert done.code == 3
    assert "tvfeast materialize" in done.err
    assert json.loads(done.out)["groups"][0]["newest"] == MONDAY.isoformat()
    part.write_bytes(part.read_bytes()[:-1])
    done = run("verify")
    assert done.code == 3
    assert f"{part.relative_to(settings.lakehouse_at)} cannot be read" in done.out
    assert "1 file of the lakehouse is not sound" in done.err


def test_scanner_options_reach_the_scanner(run: Shell, scanner: ReplayScanner):
    scanner.plan = FaultPlan(["empty"])
    done = run(
        *("feature-ingest", "--candidates", CANDIDATES, "--batch-size", "25"),
        *("--header", "Referer: https://www.example.com/", "--backoff", "0.01"),
    )
    assert done.code == 0, done.err
    assert sorted(len(asked.body["symbols"]["tickers"]) for asked in scanner.requests) == [
        *(10, 25, 25, 25),
    ]
    assert {asked.headers["Referer"] for asked in scanner.requests} == {"https://www.example.com/"}


def test_http_beyond_this_machine_needs_leave(run: Shell, scanner: ReplayScanner):
    ask = ("feature-ingest", "--universe", "crypto", "--retries", "0")
    # The replay stands in for a proxy: it is what a plain-text request goes through.
    elsewhere = {"TVFEAST_SCANNER_URL": "http://scanner.example", "http_proxy": scanner.url}
    refused = run(*ask, **elsewhere)
    assert refused.code == 2
    assert "--allow-insecure" in refused.err
    assert scanner.requests == []
    allowed = run(*ask, "--allow-insecure", **elsewhere)
    assert allowed.code in (0, 2)
    assert len(scanner.requests) >= 1


def test_the_replay_scanner_serves_until_it_is_told_to_stop(run: Shell):
    with subprocess.Popen(
        [sys.executable, "-m", "ingestion.cli", "replay-scanner", "--port", "0"],
        env={"TVFEAST_NOW": MONDAY.isoformat()},
        stderr=subprocess.PIPE,
        text=True,
    ) as replay:
        assert replay.stderr is not None
        url = re.search(r"TVFEAST_SCANNER_URL=(http://127\.0\.0\.1:\d+)", replay.stderr.readline())
        assert url
        done = run("feature-ingest", "--universe", "crypto", TVFEAST_SCANNER_URL=url[1])
        assert "4 rows" in done.out
        replay.terminate()
        assert replay.wait(10) == 0


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (DURATION, "90s", timedelta(seconds=90)),
        (DURATION, "1.5h", timedelta(minutes=90)),
        (DURATION, "4d", timedelta(days=4)),
        (INSTANT, "2021-04-12T21:30Z", MONDAY),
        (DAY, "2021-04-12", MONDAY.date()),
        (LIMIT, "Stoch.K=-1e2", ("Stoch.K", -100.0)),
        (HEADER, "Referer: a:b", ("Referer", "a:b")),
    ],
)
def test_option_values_are_read(kind: click.ParamType, text: str, value: object):
    assert kind.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2021-04-11", datetime(2021, 4, 11, 23, 59, 59, 999999, UTC)),
        ("20210411", datetime(2021, 4, 11, 23, 59, 59, 999999, UTC)),
        ("2021-04-12", MONDAY),
        ("2021-04-13", datetime(2021, 4, 13, 23, 59, 59, 999999, UTC)),
        ("2021-04-11T00:00", datetime(2021, 4, 11, tzinfo=UTC)),
        ("2021-04-11T02:00+03:00", datetime(2021, 4, 10, 23, tzinfo=UTC)),
    ],
)
def test_a_date_alone_is_its_end_or_now_while_it_is_not_over(
    text: str, value: datetime, at: Callable[[datetime], None]
):
    at(MONDAY)
    assert AS_OF.convert(text, None, None) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((AS_OF, text) for text in ("noon", "0001-01-01", "2021-13-01")),
        *((DURATION, text) for text in ("", "2", "-2h", "2w", "9999999999d")),
        (INSTANT, "noon"),
        (DURATION, "999999d"),
        (DAY, "2021-13-01"),
        *((LIMIT, text) for text in ("ADX", "ADX=", "ADX=x", "ADX=nan")),
        *((HEADER, text) for text in ("Referer", ": x", "Re ferer: x")),
    ],
)
def test_option_values_that_make_no_sense_are_refused(kind: click.ParamType, text: str):
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)
