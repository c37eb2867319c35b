"""Configuration: the only place that reads the ``TVFEAST_…`` variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from ingestion.base.errors import InputError

TRADINGVIEW_SCANNER = "https://scanner.tradingview.com"
VARIABLES: Mapping[str, tuple[str, str]] = {
    "TVFEAST_PROJECT": (
        "folder of a project, with its `feature_repo/` and `data/`",
        "the nearest folder with `feature_repo/feature_store.yaml`, from the working folder "
        "upwards; else this checkout",
    ),
    "TVFEAST_LAKEHOUSE": (
        "folder of the lakehouse; a relative path is relative to the project; or its place in an "
        "object store, `s3://bucket/prefix`",
        "`data/lakehouse`",
    ),
    "TVFEAST_SCANNER_URL": (
        "the scanner to ask: https, or http on this machine (other http needs "
        "`--allow-insecure`); an empty one is an error",
        "TradingView's scanner",
    ),
    "TVFEAST_SESSION_ID": (
        "session cookie of TradingView, for real-time data; it is never logged or stored",
        "none: delayed data",
    ),
    "TVFEAST_YAHOO_URL": (
        "the server that the bar source `yahoo` asks",
        "Yahoo's",
    ),
    "TVFEAST_BINANCE_URL": (
        "the server that the bar source `binance` asks, in place of all of Binance's",
        "Binance's",
    ),
    "TVFEAST_TIINGO_KEY": (
        "your key of Tiingo, for the bar source `tiingo`; it is never logged or stored",
        "none: the source asks nothing",
    ),
    "TVFEAST_TIINGO_URL": (
        "the server that the bar source `tiingo` asks: https, or http on this machine",
        "Tiingo's",
    ),
    "TVFEAST_COINBASE_URL": (
        "the server that the bar source `coinbase` asks",
        "Coinbase's",
    ),
    "TVFEAST_KRAKEN_URL": (
        "the server that the bar source `kraken` asks",
        "Kraken's",
    ),
    "TVFEAST_OKX_URL": (
        "the server that the bar source `okx` asks",
        "OKX's",
    ),
    "TVFEAST_NOW": (
        'what "now" is, to replay a day: ISO 8601, UTC where it has no offset',
        "the wall clock",
    ),
}
"""The environment variables: what each is, and what counts where it is not set. A bar source of a
project's may read others; errors hide the values of ``TVFEAST_…_KEY``, ``_TOKEN``, ``_SECRET``."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
"""Host names of this machine."""
_PLAIN = re.compile(r"[A-Za-z0-9:/._~%\[\]@-]+")
"""What a scanner's URL may contain: programs differ in how they read the rest."""
_STORE_URL = re.compile(
    r"s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/(?!\.\.?(/|$))[A-Za-z0-9_.=+-]+)*", re.ASCII
)
"""What all programs that read the lakehouse spell alike, and no store reads as a pattern."""
_CHECKOUT = Path(__file__).resolve().parent.parent.parent


class StoreUrl(str):
    """Where a lakehouse in an object store is: ``s3://bucket/prefix``, with no slash at its end."""

    __slots__ = ()


def variable(name: str) -> str | None:
    """Return an environment variable; empty counts as unset."""
    return os.environ.get(name) or None


def project_folder() -> tuple[Path, str]:
    """Return the project's folder, and what says so.

    It is the folder that ``TVFEAST_PROJECT`` names; else the nearest one, from the working folder
    upwards, that has ``feature_repo/feature_store.yaml``; else the one that tvfeast runs from.
    """
    if named := variable("TVFEAST_PROJECT"):
        return Path(named).resolve(), "TVFEAST_PROJECT"
    with suppress(FileNotFoundError):  # the working folder was removed
        if found := project_around(Path.cwd()):
            return found.resolve(), "the working folder"
    return _CHECKOUT, "the folder that tvfeast runs from"


def project_around(folder: Path) -> Path | None:
    """Return the nearest folder, from one upwards, that is a project; None if there is none."""
    for each in (folder, *folder.parents):
        if (each / "feature_repo" / "feature_store.yaml").is_file():
            return each
    return None


@dataclass(frozen=True)
class Settings:
    """Where things are and whom to ask.

    Relative paths are relative to the project, never to the current directory.
    """

    folder: Path
    """Folder of ``feature_repo/feature_store.yaml`` and ``data/`` (:func:`project_folder`)."""
    lakehouse_at: Path | StoreUrl
    """Where the lakehouse is (``TVFEAST_LAKEHOUSE``): a folder, or a place in an object store."""
    scanner_url: str
    """Scheme and host of the scanner, without a trailing slash (``TVFEAST_SCANNER_URL``)."""
    session_id: str | None = field(default=None, repr=False)
    """TradingView session cookie (``TVFEAST_SESSION_ID``); never logged or stored."""

    @classmethod
    def from_environment(cls, folder: Path | None = None) -> Self:
        """Read the ``TVFEAST_…`` variables.

        Parameters
        ----------
        folder
            The project's folder; what :func:`project_folder` returns if None.

        Raises
        ------
        InputError
            If ``TVFEAST_PROJECT`` names no folder, the scanner's URL is no plain http or https URL,
            or the lakehouse's path contains characters that stores read as a pattern, or names no
            place in an object store.
        """
        if folder is None:
            folder, said_by = project_folder()
            if not folder.is_dir():
                raise InputError(
                    f"{said_by} is {folder}, and there is no such folder: correct it, or make a "
                    f"project there with `tvfeast init {folder}`"
                )
        folder = folder.resolve()
        return cls(
            folder=folder,
            lakehouse_at=lakehouse_place(variable("TVFEAST_LAKEHOUSE") or "data/lakehouse", folder),
            # An empty one is a mistake: as unset it would send the session to TradingView.
            scanner_url=_scanner_url(os.environ.get("TVFEAST_SCANNER_URL", TRADINGVIEW_SCANNER)),
            session_id=variable("TVFEAST_SESSION_ID"),
        )

    @property
    def feast_repository(self) -> Path:
        """Folder of ``feature_store.yaml``."""
        return self.folder / "feature_repo"

    @property
    def log_folder(self) -> Path:
        """Where the traceback of an internal error is written."""
        return self.folder / "data" / "logs"


def lakehouse_place(text: str, folder: Path) -> Path | StoreUrl:
    """Return where a lakehouse is, from what people say; a relative path is below a folder.

    Raises
    ------
    InputError
        If the path contains characters that stores read as a pattern, or the address is none of an
        object store.
    """
    if "://" in text:
        if _STORE_URL.fullmatch(text.rstrip("/")):
            return StoreUrl(text.rstrip("/"))
        raise InputError(
            f"the lakehouse's place is {_harmless(text)!r}; in an object store it is "
            "s3://bucket/prefix, with letters, digits and _.=+- between the slashes; credentials "
            "are in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the server is in AWS_ENDPOINT_URL"
        )
    place = (folder / text).resolve()
    if pattern := set("*?[") & set(str(place)):
        raise InputError(
            f"the lakehouse's path {place} has {pattern.pop()!r}, which Feast's stores "
            "read as a pattern; move it, or set TVFEAST_LAKEHOUSE"
        )
    return place


def _harmless(url: str) -> str:
    """Return a URL without a user's password and without a query's token."""
    return re.split(r"[?#]", url.rpartition("@")[2])[0]


def _scanner_url(text: str) -> str:
    """Return the URL if it has scheme, host, port and path, and nothing else.

    Whether http may be used is for the client to say, which sends the cookie.
    """
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an unclosed bracket, a port out of range
        sound = False
    if not sound or not _PLAIN.fullmatch(text) or "@" in parts.netloc:
        told = repr(_harmless(text)) if text else "empty"
        raise InputError(
            f"TVFEAST_SCANNER_URL is {told}; it must be a URL "
            f"without user, query or fragment: https, such as {TRADINGVIEW_SCANNER}, or http on "
            "this machine (127.0.0.1); unset it to ask TradingView"
        )
    return text.rstrip("/")
