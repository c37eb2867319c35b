from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from ingestion.base import clock
from ingestion.base.errors import ClockError, InputError
from ingestion.base.settings import TRADINGVIEW_SCANNER, Settings, StoreUrl
from ingestion.cli.commands import cli
from tests.conftest import SAMPLE


def test_defaults_are_the_checkouts_lakehouse_and_tradingview():
    settings = Settings.from_environment()
    assert settings.lakehouse_at == Path(__file__).resolve().parent.parent / "data" / "lakehouse"
    assert settings.scanner_url == TRADINGVIEW_SCANNER
    assert settings.session_id is None


def test_a_relative_lakehouse_is_relative_to_the_project(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path))
    monkeypatch.setenv("TVFEAST_LAKEHOUSE", "elsewhere/lake")
    monkeypatch.chdir("/")
    assert Settings.from_environment().lakehouse_at == tmp_path / "elsewhere" / "lake"


@pytest.mark.parametrize("place", ["s3://lake", "s3://lake/a/b.c=1/", "s3://my.lake-1/a_b+c-d"])
def test_a_lakehouse_may_be_in_an_object_store(monkeypatch, place: str):
    monkeypatch.setenv("TVFEAST_LAKEHOUSE", place)
    found = Settings.from_environment().lakehouse_at
    assert (type(found), found) == (StoreUrl, place.rstrip("/"))


@pytest.mark.parametrize(
    "place",
    [
        *("gs://lake/x", "az://lake", "S3://lake", "s3a://lake", "https://host/lake", "s3://"),
        *("s3:///x", "s3://Lake", "s3://-lake", "s3://lake//x", "s3://lake/../x", "s3://lake/."),
        *("s3://lake/a*", "s3://lake/a?x", "s3://lake/a b", "s3://lake/a#x", "s3://lake/ä"),
        *("s3://key:s3cret@lake/x", "s3://lake/x?token=s3cret", "s3://lake/x#s3cret"),
    ],
)
def test_no_other_address_is_one_and_no_secret_of_it_is_shown(monkeypatch, place: str):
    monkeypatch.setenv("TVFEAST_LAKEHOUSE", place)
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL") as caught:
        Settings.from_environment()
    assert "s3cret" not in str(caught.value)
    assert "key:" not in str(caught.value)


def test_the_session_cookie_is_not_shown(monkeypatch):
    monkeypatch.setenv("TVFEAST_SESSION_ID", "s3cret")
    settings = Settings.from_environment()
    assert settings.session_id == "s3cret"
    assert "s3cret" not in f"{settings!r} {settings}"


@pytest.mark.parametrize(
    "url",
    [
        *("scanner.tradingview.com", "ftp://x", "file:///etc/passwd", "https://", "http://["),
        *("https://x:99999", "https://x:0", "https://x:y", "https://a b", "https://a\\b"),
        *("https://a\nb", "https://me:s3cret@x", "https://x/?token=s3cret", "https://x#s3cret"),
        *("http://127.0.0.1\\@x/", "https://s3cret@", "https://me:s3?cret@x"),
    ],
)
def test_a_scanner_url_is_scheme_host_port_and_path_and_no_secret_of_it_is_shown(
    monkeypatch, url: str
):
    monkeypatch.setenv("TVFEAST_SCANNER_URL", url)
    with pytest.raises(InputError, match="TVFEAST_SCANNER_URL") as caught:
        Settings.from_environment()
    assert "s3" not in str(caught.value)


def test_a_project_that_is_not_there_is_not_begun_in_its_place(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path / "mien"))
    for words in (["status"], ["import-bars", str(SAMPLE / "bars.parquet")]):
        refused = CliRunner().invoke(cli, words)
        assert isinstance(refused.exception, InputError)
        assert f"TVFEAST_PROJECT is {tmp_path / 'mien'}" in str(refused.exception)
    assert not list(tmp_path.iterdir())
    # What the message says to do.
    assert CliRunner().invoke(cli, ["init", str(tmp_path / "mien")]).exit_code == 0
    assert CliRunner().invoke(cli, ["catalog", "check"]).exit_code == 0


def test_an_empty_scanner_url_is_a_mistake_and_does_not_ask_tradingview(monkeypatch):
    monkeypatch.setenv("TVFEAST_SCANNER_URL", "")
    with pytest.raises(InputError, match=r"TVFEAST_SCANNER_URL is empty.*unset it") as caught:
        Settings.from_environment()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:8787/", "http://[::1]:80", "https://x.example"])
def test_a_good_scanner_url_loses_its_trailing_slash(monkeypatch, url: str):
    monkeypatch.setenv("TVFEAST_SCANNER_URL", url)
    assert Settings.from_environment().scanner_url == url.rstrip("/")


@pytest.mark.parametrize(
    "text",
    ["2026-01-16T21:30:00Z", "2026-01-16 21:30", "2026-01-16T16:30:00-05:00", "20260116T213000"],
)
def test_now_can_be_replayed_in_utc(monkeypatch, text: str):
    monkeypatch.setenv("TVFEAST_NOW", text)
    assert clock.now() == datetime(2026, 1, 16, 21, 30, tzinfo=UTC)
    assert clock.now().utcoffset() == timedelta(0)


def test_a_now_that_is_no_time_is_an_input_error(monkeypatch):
    monkeypatch.setenv("TVFEAST_NOW", "yesterday")
    with pytest.raises(ClockError, match=r"yesterday.*ISO 8601"):
        clock.now()


def test_the_wall_clock_is_utc():
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)


def test_a_stamp_is_a_whole_second_that_has_come():
    before = clock.now()
    stamp = clock.next_whole_second()
    assert before <= stamp <= clock.now()
    assert stamp.microsecond == 0


def test_a_replayed_clock_between_two_seconds_cannot_stamp(monkeypatch):
    monkeypatch.setenv("TVFEAST_NOW", "2026-01-16T21:30:00.000001Z")
    with pytest.raises(ClockError, match="whole seconds"):
        clock.next_whole_second()


@pytest.mark.parametrize("text", ["0001-01-01", "0001-01-01T00:00+10:00", "9999-12-31"])
def test_years_without_markets_are_no_times(monkeypatch, text: str):
    monkeypatch.setenv("TVFEAST_NOW", text)
    with pytest.raises(ClockError):
        clock.now()


@pytest.mark.parametrize("path", ["/data/lake[1]", "lake*", "lake?"])
def test_a_lakehouse_path_that_reads_as_a_pattern_is_refused(monkeypatch, path: str):
    monkeypatch.setenv("TVFEAST_LAKEHOUSE", path)
    with pytest.raises(InputError, match="pattern"):
        Settings.from_environment()
