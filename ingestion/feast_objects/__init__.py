"""Feast's entity, sources, views and services, built from a project's catalog.

``define`` is what a repository's ``definitions.py`` calls; ``describe`` gives the same objects to
jobs. Nothing else builds Feast objects.
"""

from ingestion.feast_objects.build import Definitions, define, describe

__all__ = ["Definitions", "define", "describe"]
