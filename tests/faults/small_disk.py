"""A disk of its own for the project's data, as small or as unwritable as a test wants it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


class SmallDisk:
    """A tmpfs; mounting one takes privileges."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def mount(self) -> bool:
        """Tell whether this may be done here."""
        program = shutil.which("mount")
        if program is None:
            return False
        command = [program, "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(self._folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        subprocess.run(["umount", str(self._folder)], check=True)  # noqa: S607

    def leave_room(self, pages: int) -> None:
        """Set how much can still be written."""
        used = os.statvfs(self._folder)
        size = (used.f_blocks - used.f_bfree) * used.f_bsize + pages * PAGE
        self._remount(f"size={size}")

    def be_read_only(self, read_only: bool = True) -> None:
        self._remount("ro" if read_only else "rw")

    def _remount(self, option: str) -> None:
        command = ["mount", "-o", f"remount,{option}", str(self._folder)]
        subprocess.run(command, check=True)
