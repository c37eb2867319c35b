"""Reading receipts, which people, disks and other programs may have been at."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from ingestion.base.errors import InputError
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import Lakehouse, RunFile, run_file, run_files
from ingestion.runs.run import Outcome

NOT_SAID = (ValueError, LookupError, TypeError, AttributeError)
"""What taking a value out of a document raises where there is another one, or none."""

_SNAPSHOT = "feature_ingest.{}.json"
_FORMER_SNAPSHOT = "feature_ingest_coverage.json"
"""Written by version 0.1.0, which had one group of the scanner."""

PUBLISH, NOTHING = "publish", "nothing to add"
"""The verdicts of snapshots whose answer was complete: with rows to publish, and with none."""

Told = TypeVar("Told")
_log = logging.getLogger(__name__)


def text(value: object) -> str:
    """Return what must be a text.

    Raises
    ------
    TypeError
        If it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def read_receipt(file: RunFile) -> dict[str, Any]:
    """Return what a receipt says.

    Raises
    ------
    InputError
        If it is not the receipt of the run that it lies with.
    """
    try:
        content = file.read()
    except OSError as error:
        raise _refusal(file, f"cannot be read ({error})") from error
    return receipt_in(file, content)


def receipt_in(file: RunFile, content: bytes) -> dict[str, Any]:
    """Return what a receipt with this content says; errors as of :func:`read_receipt`."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _refusal(file, f"cannot be read ({error})") from error
    if not isinstance(document, dict) or not isinstance(document.get("run_id"), str):
        raise _refusal(file, "is no receipt")
    if document["run_id"] != file.run_id:
        raise _refusal(file, f"is of run {document['run_id']}, and lies with another")
    return document


def is_done(receipt: dict[str, Any]) -> bool:
    """Return whether a receipt is of a job that has done all its work.

    One that does not say so is older than these words, and was written at the end.

    Raises
    ------
    ValueError
        If it says something else.
    """
    return Outcome(receipt.get("outcome", Outcome.DONE)) is Outcome.DONE


def ended_before(receipt: dict[str, Any], member: str) -> bool:
    """Return whether a receipt lacks a member because its job ended before it knew that.

    Raises
    ------
    ValueError
        As :func:`is_done`.
    """
    return member not in receipt and not is_done(receipt)


def _warn(error: InputError) -> None:
    _log.warning("skipped: %s", error)


def receipts_told(
    lakehouse: Lakehouse,
    name: str,
    read: Callable[[dict[str, Any]], Told | None],
    passed_over: Callable[[InputError], object] = _warn,
    *,
    after: str = "",
) -> Iterator[Told]:
    """Yield what the receipts of a job say, the newest first; run ids sort by time.

    There may be thousands of runs: those that the caller does not come to are not looked at.

    Parameters
    ----------
    read
        Takes what it needs out of a receipt; None to skip it in silence.
    passed_over
        Gets the error of each receipt that cannot be read; people are, unless the caller does more.
    after
        Only of runs that are later than this one.
    """
    return told_by(run_files(lakehouse, name, after), read, passed_over)


def told_by(
    files: Iterable[RunFile],
    read: Callable[[dict[str, Any]], Told | None],
    passed_over: Callable[[InputError], object] = _warn,
) -> Iterator[Told]:
    """Yield what some receipts say, in their order; see :func:`receipts_told`."""
    for file in files:
        told = receipt_told(file, read, partial(_unless_gone, file, passed_over))
        if told is not None:
            yield told


def _unless_gone(
    file: RunFile, passed_over: Callable[[InputError], object], error: InputError
) -> None:
    """Report a receipt that cannot be read, unless its run was retired after it was listed."""
    if file.exists():
        passed_over(error)


def receipt_told(
    file: RunFile,
    read: Callable[[dict[str, Any]], Told | None],
    passed_over: Callable[[InputError], object] = _warn,
) -> Told | None:
    """Return what one receipt says; None if it cannot be read. See :func:`receipts_told`."""
    try:
        return read(read_receipt(file))
    except InputError as error:
        passed_over(error)
    except NOT_SAID as error:
        passed_over(_refusal(file, f"does not say what it must ({error!r})"))
    return None


def newest_receipt(
    lakehouse: Lakehouse,
    name: str,
    read: Callable[[dict[str, Any]], Told | None],
    passed_over: Callable[[InputError], object] = _warn,
) -> Told | None:
    """Return what the newest receipt of a job says, by :func:`receipts_told`; None without one."""
    return next(receipts_told(lakehouse, name, read, passed_over), None)


def snapshot_file(group: FeatureGroup) -> str:
    """Return the name of the receipt of a group's snapshot."""
    return _SNAPSHOT.format(group.name)


def snapshot_name(names: Collection[str], group: FeatureGroup) -> str | None:
    """Return which of a run's files may be the receipt of a group's snapshot."""
    return next((name for name in (snapshot_file(group), _FORMER_SNAPSHOT) if name in names), None)


def snapshot_receipts(lakehouse: Lakehouse, run_id: str, group: FeatureGroup) -> list[RunFile]:
    """Return the receipts of a run that may be of a group's snapshot: one, or none."""
    names = (snapshot_file(group), _FORMER_SNAPSHOT)
    files = (run_file(lakehouse, run_id, name) for name in names)
    return [file for file in files if file.exists()][:1]


def is_of_group(receipt: dict[str, Any], group: FeatureGroup) -> bool:
    """Return whether a snapshot's receipt is of a group; one of version 0.1.0 names its parts."""
    if "group" in receipt:
        return bool(receipt["group"] == group.name)
    parts = receipt.get("parts") or []
    return all(str(each["part"]).startswith(f"{group.storage}/") for each in parts)


def _refusal(file: RunFile, what: str) -> InputError:
    return InputError(
        f"{file} {what}: put it back from a backup, or move it out of the lakehouse and record "
        "why (`tvfeast verify --accept`); `tvfeast verify` names all such files"
    )
