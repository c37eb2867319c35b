"""Look up known vulnerabilities of what the two locks pin; ``make audit``, part of lint.

``pip-audit`` asks OSV. Its exit code alone would not do: it also passes what its service does not
know. Where the service cannot be reached, nothing is audited: that is said, and is no failure, for
lint must run without a network. A vulnerability fails, unless ``[tool.tvfeast.audit]`` in
pyproject.toml says why it cannot reach us.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_AUDIT = (
    *(sys.executable, "-m", "pip_audit", "--requirement", "requirements.lock"),
    *("--requirement", "requirements-docs.lock", "--require-hashes"),
    *("--disable-pip", "--progress-spinner=off", "--desc=off", "--format=json"),
    *("--vulnerability-service=osv", "--timeout=10"),
)
_LONGEST = 180
"""Seconds after which the service counts as not reached."""
_SERVICE_FAILED = re.compile(r"requests\.exceptions\.\w+|ServiceError|ConnectionError")


def main(options: list[str]) -> int:
    """Print one line a finding and a verdict; return 1 if a finding is not explained."""
    report = _report(options)
    if report is None:
        print("audit: the vulnerability service cannot be reached: NOT AUDITED")
        return 0
    explained = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["tvfeast"]["audit"]
    return judge(report, explained)


def judge(report: list[dict[str, Any]], explained: dict[str, str]) -> int:
    """Print what was found, package by package; return 1 if a finding is not explained."""
    open_findings = 0
    for package in report:
        if "skip_reason" in package:
            print(f"audit: {package['name']}: not known to the service, NOT AUDITED")
        for finding in package.get("vulns", ()):
            names = [finding["id"], *finding["aliases"]]
            reason = next((explained[name] for name in names if name in explained), None)
            open_findings += reason is None
            mended = ", ".join(finding["fix_versions"]) or "no version yet"
            print(
                f"audit: {package['name']} {package['version']}: {' = '.join(names)}, mended in "
                f"{mended}: {reason or 'upgrade it, or explain it in pyproject.toml'}"
            )
    audited = sum("skip_reason" not in package for package in report)
    print(f"audit: {audited} of {len(report)} packages audited, {open_findings} open findings")
    return 1 if open_findings else 0


def _report(options: list[str]) -> list[dict[str, Any]] | None:
    """Return what pip-audit found, package by package; none if its service cannot be reached."""
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            [*_AUDIT, *options],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired:
        return None
    try:
        report: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        if _SERVICE_FAILED.search(done.stderr):
            return None
        raise SystemExit(f"audit: pip-audit failed: {done.stderr[-2000:]}") from None
    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
