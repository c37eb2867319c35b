"""A project's folder: its own Feast repository, lakehouse and stores.

The checkout is one. Others keep a demo or a test apart from the lakehouse that is traded on; work
in one from its folder, or point ``TVFEAST_PROJECT`` at it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ingestion.base.errors import InputError

_CHECKOUT_REPOSITORY = Path(__file__).resolve().parents[2] / "feature_repo"
_MARKER = ".tvfeast-workspace"


def make_workspace(folder: Path) -> Path:
    """Make an empty workspace; an earlier one in its place is removed.

    Raises
    ------
    InputError
        If the folder contains anything that no earlier call made.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARKER).is_file():
            raise InputError(f"{folder} is not empty and not an earlier workspace; name another")
        shutil.rmtree(folder)
    repository = folder / "feature_repo"
    repository.mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / _MARKER).touch()
    copy_repository(repository)
    return folder


def copy_repository(repository: Path) -> list[str]:
    """Copy what each Feast repository has, to its folder; return the files below the project."""
    names = ("feature_store.yaml", ".feastignore", "definitions.py")
    for name in names:
        shutil.copy(_CHECKOUT_REPOSITORY / name, repository)
    return [f"{repository.name}/{name}" for name in names]
