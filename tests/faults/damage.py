"""What people, disks and other programs do to files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def cut_short(part: Path) -> Path:
    part.write_bytes(part.read_bytes()[:-20])
    return part


def overwritten(part: Path) -> Path:
    part.write_bytes(b"\xff" * part.stat().st_size)
    return part


def spoiled_inside(part: Path) -> Path:
    """The footer is sound; some pages are not."""
    content = bytearray(part.read_bytes())
    for at in range(100, 400):
        content[at] ^= 0xA5
    part.write_bytes(content)
    return part


def emptied(part: Path) -> Path:
    part.write_bytes(b"")
    return part


def with_an_empty_part(part: Path) -> Path:
    return _beside(part, "part-90.parquet", b"")


def with_a_text_file(part: Path) -> Path:
    return _beside(part, "notes.txt", b"to do")


def with_a_hidden_file(part: Path) -> Path:
    return _beside(part, ".part-0.parquet.swp", b"\0" * 100)


def with_a_text_named_like_a_part(part: Path) -> Path:
    return _beside(part, "part-91.parquet", b"to do")


def with_another_table(part: Path) -> Path:
    path = part.with_name("part-92.parquet")
    pq.write_table(pa.table({"price": [1.0, 2.0]}), path)
    return path


def with_a_folder_named_like_a_part(part: Path) -> Path:
    path = part.with_name("part-93.parquet")
    path.mkdir()
    return path


def with_a_file_named_like_a_partition(part: Path) -> Path:
    path = part.parent.parent / "date=2021-04-20"
    path.write_bytes(b"to do")
    return path


def unreadable_link(part: Path) -> Path:
    path = part.with_name("part-94.parquet")
    path.symlink_to(part.with_name("nowhere"))
    return path


def partition_deleted(part: Path) -> Path:
    shutil.rmtree(part.parent)
    return part


DAMAGES: tuple[Callable[[Path], Path], ...] = (
    *(cut_short, overwritten, spoiled_inside, emptied, with_an_empty_part, with_a_text_file),
    *(with_a_hidden_file, with_a_text_named_like_a_part, with_another_table),
    *(with_a_folder_named_like_a_part, with_a_file_named_like_a_partition, unreadable_link),
    partition_deleted,
)
"""Each takes a part, does its worst there, and returns what does not hold after it."""


def _beside(part: Path, name: str, content: bytes) -> Path:
    path = part.with_name(name)
    path.write_bytes(content)
    return path
