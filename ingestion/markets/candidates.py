"""The candidates file: which symbols to fetch.

JSON: a list, or an object with a list under ``data`` or ``symbols``, as the scanner's clients write
it (``{"data": [{"s": …}]}``, ``{"symbols": {"tickers": […]}}``); of texts, or of objects that say
the symbol under one of several keys. Or a watch list as TradingView exports it: symbols between
commas or lines, sections after ``###``.

Entries without a unified symbol are reported by line and left out; a file without a single usable
one is an error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingestion.base.errors import CandidatesError
from ingestion.markets.symbols import symbol_problem

_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r"[ \t\r\n]*")
_LISTS = ("data", "symbols", "tickers", "candidates", "watchlist")
"""Keys of an object whose list has the entries; an object there is looked into."""
_KEYS = ("symbol", "physical_symbol", "ticker", "s", "full_name", "pro_name", "name")
"""Keys of an entry that may have its symbol."""


@dataclass(frozen=True)
class Candidates:
    """The symbols of a file, each once, in the file's order."""

    profile: str
    """The file's name."""
    symbols: tuple[str, ...]
    problems: tuple[str, ...]
    """One text an unusable entry, with its line."""
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
        raise CandidatesError(f"the candidates file {path} cannot be read: {error}") from None
    symbols: dict[str, None] = {}
    problems: list[str] = []
    entries = 0
    is_json = text.lstrip()[:1] in ("[", "{") or ":" not in text
    try:
        for position, entry in (_entries if is_json else _watch_list)(text):
            entries += 1
            symbol, problem = _symbol(entry)
            if problem is None:
                symbols[symbol] = None
            else:
                problems.append(f"line {_line(text, position)}: {problem}")
    except json.JSONDecodeError as error:
        raise CandidatesError(
            f"{path}, line {error.lineno}: {error.msg}; a candidates file is a JSON list of "
            'symbols, {"data": [...]}, {"symbols": [...]}, or a watch list: NASDAQ:AAPL,NYSE:IBM'
        ) from None
    except RecursionError:
        raise CandidatesError(f"{path}: nested too deeply for a candidates file") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise CandidatesError(f"{path} cannot be read: {error}") from None
    if not symbols:
        reason = f"; {problems[0]}" if problems else ""
        raise CandidatesError(f"{path} has no usable symbol{reason}")
    return Candidates(
        # A file system's names need not be text; a receipt is.
        profile=os.fsencode(path.name).decode("utf-8", "replace"),
        symbols=tuple(symbols),
        problems=tuple(problems),
        repeated=entries - len(problems) - len(symbols),
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


def _watch_list(text: str) -> Iterator[tuple[int, str]]:
    """Yield each symbol of a watch list with its position in the text."""
    for match in re.finditer(r"[^,\r\n]+", text):
        entry = match[0].strip()
        if entry and not entry.startswith("###"):
            yield match.start(), entry


def _entries(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each entry of the list with its position in the text.

    The standard decoder gives no positions, so the outer levels are walked here and the entries
    are left to it.
    """
    end = _skip(text, 0)
    if text[end : end + 1] == "[":
        end = yield from _list(text, end)
    elif text[end : end + 1] == "{":
        end, found = yield from _object(text, end)
        if not found:
            keys = " or ".join(f'"{key}"' for key in _LISTS)
            raise json.JSONDecodeError(f"no list under {keys}", text, end)
    else:
        raise json.JSONDecodeError("neither a list nor an object", text, end)
    if _skip(text, end) != len(text):
        raise json.JSONDecodeError("more after the end of the document", text, end)


def _list(text: str, start: int) -> Generator[tuple[int, Any], None, int]:
    at = _skip(text, start + 1)
    if text[at : at + 1] == "]":
        return at + 1
    while True:
        entry, end = _DECODER.raw_decode(text, at)
        yield at, entry
        end = _skip(text, end)
        if text[end : end + 1] == "]":
            return end + 1
        at = _skip(text, _expect(text, end, ","))


def _object(text: str, start: int) -> Generator[tuple[int, Any], None, tuple[int, bool]]:
    """Yield the entries of an object's list; returns its end, and whether it has a list."""
    found = False
    at = _skip(text, start + 1)
    while text[at : at + 1] != "}":
        key, end = _DECODER.raw_decode(text, at)
        at = _skip(text, _expect(text, _skip(text, end), ":"))
        is_found = False
        if key in _LISTS and text[at : at + 1] == "[":
            end, is_found = (yield from _list(text, at)), True
        elif key in _LISTS and text[at : at + 1] == "{":
            end, is_found = yield from _object(text, at)
        else:
            _, end = _DECODER.raw_decode(text, at)
        found = found or is_found
        at = _skip(text, end)
        if text[at : at + 1] != "}":
            at = _skip(text, _expect(text, at, ","))
    return at + 1, found


def _skip(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _expect(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        raise json.JSONDecodeError(f"{character!r} expected", text, at)
    return at + 1


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
