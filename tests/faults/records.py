"""What people, disks and other programs do to receipts and ledgers."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults.damage import cut_short, emptied, overwritten

OTHER_VALUES: tuple[object, ...] = (None, True, -1, 1.5, "x", [], ["x"], {}, {"x": None})


def removed(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def an_empty_object(path: Path) -> None:
    path.write_text("{}\n")


def another_document(path: Path) -> None:
    path.write_text('["of another program"]\n')


def nested_too_deep(path: Path) -> None:
    path.write_text("[" * 100_000 + "\n")


def of_another_run(path: Path) -> None:
    """Somebody has copied it here."""
    content = path.read_text().replace(path.parent.name, "20200101T000000Z-000000copied")
    path.write_text(content)


def without_its_last_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def with_other_values(path: Path) -> None:
    """Some values are of other types; the same ones each time."""
    chance = random.Random(path.name)
    lines = [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines()
    documents = [json.loads(line) for line in lines]
    places = [place for document in documents for place in _places(document)]
    for holder, key in chance.sample(places, max(1, len(places) // 10)):
        holder[key] = chance.choice(OTHER_VALUES)
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def the_whole_run_removed(path: Path) -> None:
    shutil.rmtree(path.parent)


NO_RECORD: tuple[Callable[[Path], object], ...] = (
    *(cut_short, overwritten, emptied, a_folder, an_empty_object, another_document),
    *(nested_too_deep, of_another_run, without_its_last_line),
)
"""Each takes a receipt or a ledger and makes something of it that is none."""

SPOILED = (*NO_RECORD, a_link_to_nowhere, removed, the_whole_run_removed, with_other_values)
"""What may befall one."""
