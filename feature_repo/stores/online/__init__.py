"""The parts of :mod:`feature_repo.stores.wide_sqlite`; its docstring tells them apart."""
