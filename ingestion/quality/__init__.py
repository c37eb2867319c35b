"""Checks that decide what is published, and the receipts that say why.

``coverage``  which share of the asked symbols a snapshot covers, and its receipt
``parity``    how far served values are from recomputed ones, and its receipt
``performance``  ``Perf.*`` at another instant than the bar's close
"""

from ingestion.quality.coverage import CoverageReport

__all__ = ["CoverageReport"]
