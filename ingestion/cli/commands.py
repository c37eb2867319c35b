"""The commands: ``tvfeast COMMAND``, one module for each kind; texts stand below their command.

Results go to stdout, as text or with ``--json`` as one JSON object; progress and errors go to
stderr. Commands import their job when they run, so that ``--help`` answers at once.
"""

from ingestion.cli.group import TASKS, cli

__all__ = ["TASKS", "cli"]
