"""The parts of :mod:`ingestion.plugins.asof`; its docstring tells them apart."""
