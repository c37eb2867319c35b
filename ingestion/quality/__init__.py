"""Checks that decide what is published, and the receipts that say why.

``coverage``  which share of the asked symbols a snapshot covers, and its receipt
"""

from ingestion.quality.coverage import CoverageReport

__all__ = ["CoverageReport"]
