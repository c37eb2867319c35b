"""Whatever fails, the session cookie is written nowhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_scanner import hostile_scanner, response

from ingestion.base.redaction import Redaction
from ingestion.cli import entry as cli
from ingestion.jobs.ingest import feature_ingest as job
from ingestion.project import Project
from ingestion.replay import FaultPlan, ReplayScanner
from ingestion.replay.faults import FAULTS
from ingestion.scanner import transport

SESSION = "q7ZtS3ss10nWx9vKcookie"
TOKEN = "tok3nOfAnotherKind=="
PASSWORD = "pa55w0rd"
SECRETS = (SESSION, TOKEN.rstrip("="), PASSWORD)
QUICK = ("--read-timeout", "0.3", "--retries", "0", "--backoff", "0")
HEADERS = ("--header", f"Authorization: Bearer {TOKEN}", f"--header=X-Key: {TOKEN}")

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    settings: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Run:
    """Run a command as the shell's entry does; return its exit code and all that it wrote."""
    candidates = tmp_path / "candidates.json"
    candidates.write_text(json.dumps(["NASDAQ:AAPL", "NASDAQ:MSFT"]))
    monkeypatch.setenv("TVFEAST_SESSION_ID", SESSION)

    def command(url: str, *options: str, source: str = "candidates") -> tuple[int, str]:
        monkeypatch.setenv("TVFEAST_SCANNER_URL", url)
        what = (
            ["--candidates", str(candidates)] if source == "candidates" else ["--universe", source]
        )
        arguments = ["feature-ingest", *what, *QUICK, "--refresh", *options]
        monkeypatch.setattr(sys, "argv", ["tvfeast", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
        code = ended.value.code
        assert isinstance(code, int)
        return code, out + err + b"".join(written).decode("latin-1")

    return command


def assert_silent(text: str) -> None:
    # Also not the greater part of one, as a quotation that ends amid it would leave.
    assert not [secret for secret in SECRETS if secret[:8] in text]


@pytest.mark.parametrize("fault", [None, *sorted(FAULTS)])
def test_no_failure_of_the_scanner_writes_the_session_anywhere(
    run: Run, scanner: ReplayScanner, monkeypatch: pytest.MonkeyPatch, fault: str | None
) -> None:
    # No option sets it, and a trickle lasts as long.
    within = transport.within
    monkeypatch.setattr(transport, "within", lambda _, exchange: within(0.4, exchange))
    scanner.plan = FaultPlan(chances={fault: 1.0} if fault else {})
    code, text = run(scanner.url, *HEADERS)
    assert scanner.requests[0].headers["Cookie"] == f"sessionid={SESSION}"
    assert scanner.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert code in (0, 2, 3, 4)
    assert_silent(text)


def secrets_first(asked: bytes) -> bytes:
    """Return the headers of a request so that the beginning, which messages quote, is secret."""
    lines = asked.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    wanted = (b"Cookie", b"Authorization", b"X-Key")
    return b" ".join(sorted(lines, key=lambda line: not line.startswith(wanted)))


def as_json(asked: bytes) -> str:
    return secrets_first(asked).decode("latin-1")


ECHOES: dict[str, Callable[[bytes], bytes]] = {
    "an error page": lambda asked: response(secrets_first(asked), "502 Bad Gateway"),
    "a refusal": lambda asked: response(secrets_first(asked), "418 No"),
    "a rejection": lambda asked: response(secrets_first(asked), "400 Bad"),
    "words of a rejection": lambda asked: response(
        json.dumps({"error": as_json(asked)}).encode(), "400 Bad"
    ),
    "words of a rejection, 200": lambda asked: response(
        json.dumps({"error": as_json(asked)}).encode()
    ),
    "an unknown column": lambda _: response(
        json.dumps({"error": f"Unknown field {SESSION}"}).encode(), "400 Bad"
    ),
    "an answer that is none": lambda asked: response(secrets_first(asked)),
    "an answer without rows": lambda asked: response(json.dumps({"a": as_json(asked)}).encode()),
    "a redirect": lambda _: response(
        b"", "302 Found", f"Location: https://me:{PASSWORD}@x.example/?sessionid={SESSION}"
    ),
    "a status line": lambda asked: b"HTTP/1.1 " + secrets_first(asked) + b"\r\n\r\n",
    "a header": lambda _: response(b"", "200 OK", f"Content-Length: {SESSION}"),
    "no HTTP": lambda asked: secrets_first(asked) + b"\r\n\r\n",
    "a secret cut by the quotation": lambda _: response(b"x" * 110 + SESSION.encode(), "502 Bad"),
}


@pytest.mark.parametrize("echo", ECHOES)
def test_a_scanner_that_repeats_the_request_makes_no_message_show_the_session(
    run: Run, echo: str
) -> None:
    with hostile_scanner(ECHOES[echo]) as url:
        for source in ("candidates", "america"):
            code, text = run(url, *HEADERS, source=source)
            assert code in (2, 3, 4)
            assert_silent(text)


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:{PASSWORD}@127.0.0.1/",
        f"http://me:{PASSWORD}@127.0.0.1:9",
        f"https://127.0.0.1/?token={PASSWORD}",
        f"http://scanner.example/{'x' * 9}",
        "https://127.0.0.1:9",
        "http://127.0.0.1:9",
    ],
)
def test_a_url_that_cannot_be_used_shows_no_password(run: Run, url: str) -> None:
    code, text = run(url, *HEADERS)
    assert code in (2, 4)
    assert_silent(text)


@pytest.mark.parametrize("proxy", ["http://me:{0}@127.0.0.1:9", "me:{0}@", "socks9://me:{0}@x"])
def test_a_proxy_that_cannot_be_used_shows_no_password(
    run: Run, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.format(PASSWORD))
    code, text = run("https://scanner.example", *HEADERS)
    assert code in (2, 4)
    assert_silent(text)


@pytest.mark.parametrize(
    "options",
    [
        ("--header", f"Authorization {TOKEN}"),
        ("--header", f"Authorization: {TOKEN}\nX: 1"),
        ("--header", f"X-Key: sessionid={SESSION}\0"),
        ("--header", f": {TOKEN}"),
        ("--header", "Cookie:", f"sessionid={SESSION}"),
        (f"--header=Cookie {TOKEN}",),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_and_not_shown(
    run: Run, scanner: ReplayScanner, options: tuple[str, ...]
) -> None:
    code, text = run(scanner.url, *options)
    assert code == 2
    assert_silent(text)


def test_an_internal_error_that_holds_the_secrets_does_not_show_them(
    run: Run, scanner: ReplayScanner, settings: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(settings: Project, request: job.FeatureIngestRequest, *_: object) -> None:
        try:
            raise KeyError(settings.session_id)
        except KeyError as error:
            raise ValueError(f"{request.scanner.headers} {sys.argv} {settings!r}") from error

    monkeypatch.setattr(job, "feature_ingest", broken)
    code, text = run(scanner.url, *HEADERS)
    assert code == 1
    assert_silent(text)
    log = (settings.log_folder / "tvfeast.log").read_text()
    assert "ValueError" in log
    assert "KeyError" in log


def test_what_is_hidden_does_not_show_in_the_redaction_nor_is_harmless_text_touched() -> None:
    redaction = Redaction(
        [("Cookie", f"a=b; sessionid={SESSION}"), ("Referer", "https://x.example")]
    )
    assert SESSION not in repr(redaction)
    assert (
        redaction.hide(f"https://x.example a=b {SESSION} {SESSION}")
        == "https://x.example a=b *** ***"
    )
    assert redaction.hide("SESSIONID_SIGN=v1:abc; x") == "SESSIONID_SIGN=***; x"
