"""Feast's entity, sources, views and services, built from the catalog."""
