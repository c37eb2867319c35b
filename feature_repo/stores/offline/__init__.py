"""The parts of :mod:`feature_repo.stores.asof`; its docstring tells them apart."""
