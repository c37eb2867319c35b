"""Words that a reader whose first language is another reads twice; CONTRIBUTING.md has better ones.

``LIMITS`` says how many places have them now. A folder with more fails, and so does one with fewer
until its limit is lowered. ``python -m tests.test_words`` lists the places and the counts.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

LIMITS: dict[str, int] = {
    "ingestion/quality": 1,
    "ingestion/runs": 1,
}

_THINGS = (
    "bar|batch|candidate|column|command|date|day|entity|fault|feature|file|flow|folder|formula|"
    "function|group|hole|index|job|label|line|market|minute|module|month|part|partition|reason|"
    "request|row|run|second|session|snapshot|source|step|store|symbol|target|test|value|view|"
    "week|year"
)
WORDS = {
    "mend": "mend(s|ed|ing)?",
    "bear": "bears|bearing|borne|(can|cannot|could|may|must|not|to|will|would) bear",
    "tell": "tell(s|ing)?|told",
    "hold": "hold(s|ing)?(?! back)",
    "answer for": "answer(s|ed|ing)? for",
    "give way": "(give|gives|gave|giving|given) way",
    "pass over": "pass(es|ed|ing)? over",
    "come to lie": "(come|comes|came|coming) to lie",
    "no more than": "no more than",
    "a row a symbol": f"an? ({_THINGS}) an? ({_THINGS})",
}
"""What to avoid, with all of its forms; what is held back is a term of the domain."""
_AVOIDED = {
    word: re.compile(rf"\b({form})\b".replace(" ", r"\s+"), re.IGNORECASE)
    for word, form in WORDS.items()
}
_ANY = re.compile("|".join(each.pattern for each in _AVOIDED.values()), re.IGNORECASE)
_CODE = re.compile(r"`[^`\n]*`")
_WORD_LIST = re.compile(r"^## Words\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


class Place(NamedTuple):
    """Where a word stands."""

    path: Path
    line: int
    word: str
    around: str


def avoided(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the offset, the word, and what is around it; names in backticks are no words."""
    text = _CODE.sub(lambda code: "`" * len(code[0]), text)
    for word, form in _AVOIDED.items():
        for match in form.finditer(text):
            around = text[max(match.start() - 30, 0) : match.end() + 30]
            yield match.start(), word, " ".join(around.split())


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what people read in a file: its lines, or a module's strings and comments."""
    content = path.read_text(encoding="utf-8")
    if not _ANY.search(content):  # to parse it takes longer
        return
    if path.suffix == ".md":
        # In CONTRIBUTING.md, the list of the words themselves.
        yield 1, _WORD_LIST.sub(lambda section: "\n" * section[0].count("\n"), content)
        return
    for node in ast.walk(ast.parse(content)):
        # A string that is one word is a key or a name.
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(content).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def places() -> Iterator[Place]:
    """Yield all of them: in the documents, and in the product's strings and comments."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    files += [path for top in ("ingestion", "feature_repo") for path in (ROOT / top).rglob("*.py")]
    for path in sorted(files):
        for first, text in prose(path):
            for offset, word, around in avoided(text):
                yield Place(path, first + text[:offset].count("\n"), word, around)


def folder(path: Path) -> str:
    """Return the document or the room that a file counts for."""
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[: 2 if parts[0] == "ingestion" else 1])


def test_no_folder_has_more_of_them_than_its_limit_and_no_limit_is_too_high():
    found = list(places())
    counts = Counter(folder(place.path) for place in found)
    more = {name: [] for name in counts if counts[name] > LIMITS.get(name, 0)}
    for place in found:
        if (name := folder(place.path)) in more:
            more[name].append(f"{place.path.relative_to(ROOT)}:{place.line}: {place.around}")
    assert not more, "write it in other words: CONTRIBUTING.md, Words"
    high = {name: counts[name] for name, limit in LIMITS.items() if counts[name] < limit}
    assert not high, f"lower the limits in LIMITS to {high}; leave out those that are 0"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It is mended, and bears an answer for\n    nobody.", ["mend", "bear", "answer for"]),
        ("Gave way, passed\nover: no more than that.", ["give way", "pass over", "no more than"]),
        ("A row\n    a symbol, a module a job.", ["a row a symbol"] * 2),
        ("What holds is told, and came to lie there.", ["tell", "hold", "come to lie"]),
        ("Amendments, a bear market, `told`, a row per symbol, a row, a file; hold back.", []),
    ],
)
def test_the_words_are_found_in_their_forms(text: str, words: list[str]):
    assert [word for _, word, _ in avoided(text)] == words


if __name__ == "__main__":
    everything = list(places())
    for place in everything:
        print(f"{place.path.relative_to(ROOT)}:{place.line}: {place.word}: {place.around}")
    print(dict(sorted(Counter(folder(place.path) for place in everything).items())))
