"""The parts of :mod:`ingestion.plugins.asof`; its docstring lists them."""
