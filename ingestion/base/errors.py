"""The error tree.

Every error that a user can meet derives from :class:`TvfeastError`, says what went wrong, where,
and what to do, and carries the exit code of the command that it ends::

    TvfeastError                1  internal
    ├── InputError              2  bad usage, configuration or input file
    │   ├── ClockError             TVFEAST_NOW, or a clock behind what is stored
    │   ├── CandidatesError        the candidates file
    │   ├── CatalogError           what a project declares
    │   ├── CorruptPart            a file in the lakehouse that cannot be read
    │   ├── FeastRepositoryError   the registry does not fit the settings
    │   └── ScannerRefused         the scanner cannot answer this question
    │       └── UnknownColumn      … because it does not know a column
    ├── GateRefused             3  something was refused or is missing
    ├── NothingFetched          4  no rows came from the scanner
    ├── StoreFailed             2  the object store did not do what it was asked
    ├── LakehouseLocked         5  another run is writing
    └── StepDone                0  a step of a run has been done before
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

EXIT_CODES: Mapping[int, str] = {
    0: "done",
    1: "an internal error, and where its log is",
    2: "bad usage or input: which, where, and what to do",
    3: "something was refused or is missing; the last line says what was published",
    4: "no rows came from the scanner, and nothing new was published",
    5: "another run is writing to the lakehouse",
}
"""What each exit code of a command means."""


class TvfeastError(Exception):
    """Root of the tree."""

    exit_code = 1


class StepDone(TvfeastError):
    """A step of a run in parts is done already, and is not done again."""

    exit_code = 0


class InputError(TvfeastError):
    """Bad usage, configuration or input file: which, where, what to do."""

    exit_code = 2


class ClockError(InputError):
    """``TVFEAST_NOW`` cannot be used, or the clock is not past what is stored already."""


class CandidatesError(InputError):
    """The candidates file is missing, broken, or has no usable symbol."""


class CatalogError(InputError):
    """A declaration cannot be used: a group, a column, a service, a formula."""


class CorruptPart(InputError):
    """A file of the lakehouse cannot be read."""


class FeastRepositoryError(InputError):
    """The Feast registry is missing or describes another lakehouse."""


class ScannerRefused(InputError):
    """The scanner answered that it cannot serve this question; asking again would not help."""


class UnknownColumn(ScannerRefused):
    """The scanner does not know a requested column.

    Attributes
    ----------
    column
        The column's name as the scanner spelled it.
    """

    def __init__(self, column: str, declared: str = "ingestion/catalog/") -> None:
        self.column = column
        super().__init__(
            f'the scanner does not know the column "{column}": TradingView may have renamed it; '
            f"change its declaration in {declared}, or declare it optional"
        )


class GateRefused(TvfeastError):
    """A gate or limit said no, to all or to a part; the message says what was published."""

    exit_code = 3


class Judged(Protocol):
    """A result that may be less than what was asked for."""

    @property
    def refusal(self) -> str | None:
        """What is refused or missing, for people; None if nothing is."""


def demand_all(result: Judged) -> None:
    """Stop where a result is less than what was asked for; what is good of it was published.

    Raises
    ------
    GateRefused
        If it is, with its refusal.
    """
    if result.refusal is not None:
        raise GateRefused(result.refusal)


class NothingFetched(TvfeastError):
    """No rows came from the scanner."""

    exit_code = 4


class StoreFailed(TvfeastError):
    """The store that the lakehouse is in did not answer, failed or refused; no file is damaged."""

    exit_code = 2


class LakehouseLocked(TvfeastError):
    """Another run has locked the lakehouse."""

    exit_code = 5
