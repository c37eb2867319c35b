"""The candidates file: which symbols to fetch.

A JSON list, or ``{"data": [...]}``, of strings or of objects with ``symbol`` or
``physical_symbol``. Entries that hold no unified symbol are reported by line and left out; a file
without a single usable one is an error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingestion.errors import CandidatesError
from ingestion.symbols import symbol_problem

_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r"[ \t\r\n]*")
_KEYS = ("symbol", "physical_symbol")


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
        If the file cannot be read, is not JSON of this form, or holds no usable symbol.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise CandidatesError(f"the candidates file {path} cannot be read: {error}") from None
    symbols: dict[str, None] = {}
    problems: list[str] = []
    entries = 0
    try:
        for position, entry in _entries(text):
            entries += 1
            symbol, problem = _symbol(entry)
            if problem is None:
                symbols[symbol] = None
            else:
                problems.append(f"line {_line(text, position)}: {problem}")
    except json.JSONDecodeError as error:
        raise CandidatesError(
            f"{path}, line {error.lineno}: {error.msg}; a candidates file is a JSON list of "
            'symbols, or {"data": [...]}'
        ) from None
    except RecursionError:
        raise CandidatesError(f"{path}: nested too deeply for a candidates file") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise CandidatesError(f"{path} cannot be read: {error}") from None
    if not symbols:
        reason = f"; {problems[0]}" if problems else ""
        raise CandidatesError(f"{path} holds no usable symbol{reason}")
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
            return "", f"no {' or '.join(_KEYS)} in this entry"
    for text in texts:
        if symbol_problem(text) is None:
            return str(text), None
    return "", f"{_short(texts[0])}: {symbol_problem(texts[0])}"


def _entries(text: str) -> Iterator[tuple[int, Any]]:
    """Yield each entry of the list with its position in the text.

    The standard decoder gives no positions, so the outer levels are walked here and the entries
    are left to it.
    """
    end = _skip(text, 0)
    if text[end : end + 1] == "[":
        end = yield from _list(text, end)
    elif text[end : end + 1] == "{":
        end = yield from _object(text, end)
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


def _object(text: str, start: int) -> Generator[tuple[int, Any], None, int]:
    found = False
    at = _skip(text, start + 1)
    while text[at : at + 1] != "}":
        key, end = _DECODER.raw_decode(text, at)
        at = _skip(text, _expect(text, _skip(text, end), ":"))
        if key == "data" and text[at : at + 1] == "[":
            found = True
            end = yield from _list(text, at)
        else:
            _, end = _DECODER.raw_decode(text, at)
        at = _skip(text, end)
        if text[at : at + 1] != "}":
            at = _skip(text, _expect(text, at, ","))
    if not found:
        raise json.JSONDecodeError('no list under "data"', text, start)
    return at + 1


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
