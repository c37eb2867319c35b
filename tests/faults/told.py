"""What may become of a command that something went wrong for."""

from __future__ import annotations

from tests.faults.world import World
from tests.processes import Ended

NO_FAULT_OF_OURS = {0, 2, 3, 4, 5}
"""Exit codes of ARCHITECTURE's table without the internal error."""


def assert_told(world: World, ended: Ended, *words: object) -> None:
    """The command has done its work or said in one line why not; nothing was a surprise to it."""
    log = world.settings.log_folder / "tvfeast.log"
    traceback = log.read_text() if log.exists() else ""
    assert ended.code in NO_FAULT_OF_OURS, (words, ended, traceback)
    assert "Traceback" not in ended.out + ended.err, (words, ended)
    assert not traceback
    if ended.code:
        assert ended.line.startswith("tvfeast: "), (words, ended)
        assert len(ended.line) > 30, (words, ended)
