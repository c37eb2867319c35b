"""The parts of :mod:`ingestion.plugins.wide_sqlite`; its docstring lists them."""
