"""The command line: commands, and how their results are printed.

``entry``     one line and an exit code for every error
``commands``  all commands, one module per kind beside it
``options``   options that several commands have
``output``    how results are printed, as text or as JSON
"""

from ingestion.cli.entry import main

__all__ = ["main"]
