"""Feast views and their sources, built from the catalog."""

from feature_repo.views.build import feature_view, file_source

__all__ = ["feature_view", "file_source"]
