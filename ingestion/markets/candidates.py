"""The candidates file: which symbols to fetch.

JSON: a list, or an object with a list under ``data`` or ``symbols``, as the scanner's clients write
it (``{"data": [{"s": …}]}``, ``{"symbols": {"tickers": […]}}``); of texts, or of objects that say
the symbol under one of several keys. Or a watch list as TradingView exports it: symbols between
commas or lines, sections after ``###``.

Entries without a unified symbol are reported by their number, from 1, and left out; a file without
a single usable one is an error.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingestion.base.errors import CandidatesError
from ingestion.markets.symbols import symbol_problem

_LISTS = ("data", "symbols", "tickers", "candidates", "watchlist")
"""Keys under which an object has the list of entries, or another object that has it."""
_KEYS = ("symbol", "physical_symbol", "ticker", "s", "full_name", "pro_name", "name")
"""Keys of an entry that may have its symbol."""


@dataclass(frozen=True)
class Candidates:
    """The symbols of a file, each once, in the file's order."""

    profile: str
    """The file's name."""
    symbols: tuple[str, ...]
    problems: tuple[str, ...]
    """One text for each unusable entry, with its number."""
    repeated: int
    """Entries beyond the first for their symbol."""


def read_candidates(path: Path) -> Candidates:
    """Read a candidates file.

    Raises
    ------
    CandidatesError
        If the file cannot be read, has none of these forms, or has no usable symbol.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CandidatesError(f"the candidates file {path} cannot be read: {why}") from None
    is_json = text.lstrip()[:1] in ("[", "{") or ":" not in text
    try:
        if is_json:
            entries = _entries(json.loads(text, object_pairs_hook=_object))
        else:  # a watch list, with sections after ###
            several = (entry.strip() for entry in re.split(r"[,\r\n]+", text))
            entries = [entry for entry in several if entry and not entry.startswith("###")]
    except RecursionError:
        raise CandidatesError(f"{path}: nested too deeply for a candidates file") from None
    except ValueError as error:  # JSONDecodeError, and numbers of more digits than Python reads
        raise CandidatesError(
            f"{path} cannot be read: {error}; a candidates file is a JSON list of symbols, "
            '{"data": [...]}, {"symbols": [...]}, or a watch list: NASDAQ:AAPL,NYSE:IBM'
        ) from None
    symbols: dict[str, None] = {}
    problems: list[str] = []
    for number, entry in enumerate(entries, start=1):
        symbol, problem = _symbol(entry)
        if problem is None:
            symbols[symbol] = None
        else:
            problems.append(f"entry {number}: {problem}")
    if not symbols:
        reason = f"; {problems[0]}" if problems else ""
        raise CandidatesError(f"{path} has no usable symbol{reason}")
    return Candidates(
        # A file system's names need not be text; a receipt is.
        profile=os.fsencode(path.name).decode("utf-8", "replace"),
        symbols=tuple(symbols),
        problems=tuple(problems),
        repeated=len(entries) - len(problems) - len(symbols),
    )


def _symbol(entry: Any) -> tuple[str, str | None]:
    """Return the entry's unified symbol, or what is wrong with it."""
    texts = [entry]
    if isinstance(entry, dict):
        texts = [entry[key] for key in _KEYS if entry.get(key) is not None]
        if not texts:
            has = ", ".join(map(_short, entry)) or "none"
            return (
                "",
                f"no {', '.join(_KEYS[:-1])} or {_KEYS[-1]} in this entry; its keys are {has}",
            )
        exchange = entry.get("exchange")
        if isinstance(exchange, str):
            bare = (text for text in texts if isinstance(text, str) and ":" not in text)
            texts += [f"{exchange}:{text}" for text in bare]
    for text in texts:
        if symbol_problem(text) is None:
            return str(text), None
    return "", f"{_short(texts[0])}: {symbol_problem(texts[0])}"


def _entries(document: Any) -> list[Any]:
    """Return the entries of a JSON document's list, or of its lists one after the other."""
    if isinstance(document, list):
        return document
    if not isinstance(document, dict):
        raise ValueError("it is neither a list nor an object")
    lists = _lists(document)
    if not lists:
        raise ValueError(f"it has no list under {' or '.join(map(json.dumps, _LISTS))}")
    return [entry for each in lists for entry in each]


def _lists(document: dict[str, Any]) -> list[list[Any]]:
    lists: list[list[Any]] = []
    for key, value in document.items():
        if key in _LISTS and isinstance(value, list):
            lists.append(value)
        elif key in _LISTS and isinstance(value, dict):
            lists += _lists(value)
    return lists


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; of two lists under one name, Python would silently drop the first."""
    names = [name for name, _ in pairs if name in _LISTS]
    if len(set(names)) < len(names):
        raise ValueError(f"an object has {json.dumps(names[0])} twice")
    return dict(pairs)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
