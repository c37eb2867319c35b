"""What a place for a lakehouse must be able to do: the verbs that a disk is needed for.

A file is known by its key: where it is below the root, with ``/`` between the levels; a folder
likewise, and the root is ``""``. Files appear whole, and what is written is safe when a call
returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from ingestion.base.parts import replaced_in
from ingestion.base.settings import StoreUrl
from ingestion.lakehouse.lease import Step

LAST = "\U0010ffff"
"""A name that is after all others."""


class Folder(NamedTuple):
    """What is in a folder."""

    key: str
    files: Collection[str]
    """Their names, in order."""
    replaced: frozenset[str]
    """The files that another one of them replaces (:mod:`ingestion.base.parts`)."""


class Lakehouse(ABC):
    """A lakehouse, wherever it is. As text it is its location."""

    is_listed_whole = False
    """Whether the names in all folders of runs come with one listing: looks cost nothing then."""

    def __str__(self) -> str:
        return self.location("")

    @abstractmethod
    def location(self, key: str) -> str:
        """Return where a file or a folder is, for people, for Feast and for other programs."""

    def key_of(self, name: str) -> str | None:
        """Return the key of a location, or of a key; None for the root, or a place elsewhere."""
        own = name.removeprefix(f"{self}/")
        if own.startswith("/") or "://" in own:
            return None
        key = PurePosixPath(own).as_posix()
        return None if key == "." else key

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, in no particular order; none if there is no such folder.

        Of a file and those that it replaces, a listing has the one, the others, or all.

        Raises
        ------
        NotADirectoryError
            If it is a file.
        OSError
            If it cannot be read.
        """

    def files(self, folder: str = "") -> Iterator[str]:
        """Yield the keys of all files in a folder and in those in it; seen by their names alone.

        Links are not followed.
        """
        for name in sorted(self.names(folder)):
            key = f"{folder}/{name}" if folder else name
            try:
                yield from self.files(key)
            except NotADirectoryError:
                yield key

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Return whether there is such a file or folder."""

    def having(self, folders: Iterable[str], name: str) -> Iterator[str]:
        """Yield those of some folders in which there is a file of a name, as far as one may look.

        There may be thousands; those that the caller does not come to are not looked at.
        """
        return (folder for folder in folders if self.exists(f"{folder}/{name}"))

    @abstractmethod
    def size(self, key: str) -> int:
        """Return how many bytes a file has."""

    @abstractmethod
    def state(self, key: str) -> str:
        """Return a text that is another one if a file's content may be another.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        """

    def names_state(self, folder: str) -> str:
        """Return a text that is another one if there may be other names in a folder.

        Empty where nobody knows, because something changed just now, or there is no such folder.
        """
        return "\n".join(sorted(self.names(folder)))

    def folder_state(self, key: str) -> str:
        """Return a text that is another one if files of a folder may be others, or more or fewer.

        Empty where nobody knows, because something changed just now; errors as of :meth:`names`.
        """
        return "\n".join(
            f"{name} {self.state(f'{key}/{name}')}" for name in sorted(self.names(key))
        )

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Open a file to read.

        Raises
        ------
        FileNotFoundError
            If there is none.
        OSError
            If it cannot be read.
        """

    def folder(self, key: str) -> Folder:
        """Return what is in a folder; errors as of :meth:`names`."""
        files = sorted(self.names(key))
        return Folder(key, files, replaced_in(key, files, self.open))

    def folders(self, above: str, first: str = "", last: str = LAST) -> Iterator[Folder]:
        """Yield the folders in another one, from one name to another, in order of their names."""
        for name in sorted(self.names(above)):
            if first <= name <= last:
                with suppress(NotADirectoryError):
                    yield self.folder(f"{above}/{name}")

    @abstractmethod
    def scratch_folder(self, name: str) -> Path:
        """Return a folder on this machine for what need not be kept; the caller makes it.

        What is left there goes when the lakehouse is locked next.
        """

    @abstractmethod
    def stage(self, name: str) -> Path:
        """Make a scratch folder for files that are about to be created, and return it."""

    @abstractmethod
    def staged(self) -> list[str]:
        """Return the names of all scratch folders."""

    @abstractmethod
    def unstage(self, name: str = "") -> None:
        """Remove a scratch folder; all of them without a name."""

    @contextmanager
    def staging(self, name: str) -> Iterator[Path]:
        """Make a scratch folder that is there while something is being written."""
        folder = self.stage(name)
        try:
            yield folder
        finally:
            self.unstage(name)

    @abstractmethod
    def create(self, files: Mapping[str, Path]) -> list[str]:
        """Put staged files in their places, in this order, and never over another file.

        Returns
        -------
        list of str
            The keys at which there was a file already, which stays.
        """

    @abstractmethod
    def put(self, key: str, content: bytes | Path) -> None:
        """Give a file other content, wholly or not at all.

        Parameters
        ----------
        content
            What is in it, or a staged file that has it, and moves.
        """

    @abstractmethod
    def append(self, key: str, text: str, *, durable: bool) -> None:
        """Add lines to the end of a file; safe when this returns, if they must be."""

    @abstractmethod
    def remove(self, folder: str, names: Collection[str]) -> None:
        """Remove files of a folder, one by one."""

    @abstractmethod
    def remove_folders(self, folders: Collection[str]) -> None:
        """Remove folders, each wholly or not at all; while the lakehouse is locked.

        What a killed run has not removed yet goes when the lakehouse is locked next.
        """

    @abstractmethod
    def lock(self, run_id: str, step: Step | None = None) -> AbstractContextManager[None]:
        """Lock the lakehouse for one run, or one step of it; makes the root where it is missing.

        Raises
        ------
        LakehouseLocked
            If another run has it; at once, except for the moment that a look may take.
        """

    def looking(self) -> AbstractContextManager[None]:
        """Let many looks be at one state of the lakehouse, where each one is a request.

        What others add meanwhile may go unseen until it ends.
        """
        return nullcontext()

    @abstractmethod
    def holder(self) -> str | None:
        """Return who has the lock, for people; None if nobody has."""

    @abstractmethod
    def is_writing(self, run_id: str) -> bool:
        """Return whether a run has the lock: one that was killed does not, whatever it has left."""

    def overtaken(self) -> list[str]:
        """Return runs that have lost the lock to the present one and may still be there.

        None on a local disk, where a lock ends with its process.
        """
        return []

    def close(self, key: str) -> None:
        """Let nobody add lines to a file any more that an overtaken run may add to."""
        raise NotImplementedError

    def seal(self, key: str) -> None:
        """Let nobody create a file under a key any more; one that is there stays."""
        raise NotImplementedError


def open_lakehouse(place: Path | StoreUrl) -> Lakehouse:
    """Return the lakehouse at a place: the one function that chooses a backend.

    Nothing is read or made yet.
    """
    if isinstance(place, StoreUrl):
        from ingestion.lakehouse.object_store import ObjectStore  # its client takes time to import

        return ObjectStore(place)
    from ingestion.lakehouse.local_disk import LocalDisk

    return LocalDisk(place)
