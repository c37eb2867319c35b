"""The audit of known vulnerabilities: `make audit`, against a service on this machine."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_scanner import hostile_scanner, response

ROOT = Path(__file__).resolve().parent.parent.parent


def audit(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "audit.py"), f"--osv-url={url}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def service(vulnerable: str) -> Callable[[bytes], bytes]:
    """Answer as OSV does: one package has a vulnerability in all its versions below 99."""

    def answer(request: bytes) -> bytes:
        name = json.loads(request.partition(b"\r\n\r\n")[2])["package"]["name"]
        fixed = [{"introduced": "0"}, {"fixed": "99"}]
        affected = {
            "package": {"name": name, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": fixed}],
        }
        finding: dict[str, Any] = {
            "id": "GHSA-made-up",
            "summary": "made up",
            "modified": "2026-01-01T00:00:00Z",
            "published": "2026-01-01T00:00:00Z",
            "aliases": ["CVE-2026-99999"],
            "affected": [affected],
        }
        found = {"vulns": [finding]} if name == vulnerable else {}
        return response(json.dumps(found).encode(), "200 OK", "Content-Type: application/json")

    return answer


def test_a_vulnerability_that_nobody_explains_fails_and_is_named() -> None:
    with hostile_scanner(service("requests")) as url:
        done = audit(url)
    assert done.returncode == 1, done.stderr
    assert "audit: requests " in done.stdout
    assert "CVE-2026-99999" in done.stdout
    assert "mended in 99" in done.stdout
    assert "1 open findings" in done.stdout


def test_packages_without_known_vulnerabilities_pass_and_are_counted() -> None:
    pinned = (ROOT / "requirements.lock").read_text().count("==")
    with hostile_scanner(service("none of them")) as url:
        done = audit(url)
    assert done.returncode == 0, done.stderr
    assert " 0 open findings" in done.stdout
    assert int(done.stdout.split()[1]) > 0.9 * pinned  # some are for other systems alone


@pytest.mark.parametrize("answer", [b"", response(b"", "503 Down"), response(b"<html>", "200 OK")])
def test_a_service_that_does_not_answer_is_said_not_to_have_audited(answer: bytes) -> None:
    with hostile_scanner(lambda _: answer) as url:
        done = audit(url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "audit: the vulnerability service cannot be reached: NOT AUDITED\n"


def test_nothing_listening_is_said_not_to_have_audited() -> None:
    done = audit("http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "NOT AUDITED" in done.stdout
    assert "127.0.0.1" not in done.stdout + done.stderr


def test_what_is_explained_passes_with_its_reason_and_what_is_unknown_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    finding = {"id": "CVE-1", "aliases": ["GHSA-1"], "fix_versions": []}
    report = [
        {"name": "a", "version": "1", "vulns": [finding]},
        {"name": "b", "skip_reason": "not found"},
    ]
    assert module.judge(report, {"GHSA-1": "we never call it"}) == 0
    told = capsys.readouterr().out
    assert "we never call it" in told
    assert "b: not known to the service, NOT AUDITED" in told
    assert "1 of 2 packages audited" in told
    assert module.judge(report, {"GHSA-2": "another"}) == 1
