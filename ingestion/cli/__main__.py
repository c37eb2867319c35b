"""``python -m ingestion.cli``."""

from ingestion.cli import main

main()
