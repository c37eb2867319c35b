"""Feast plug-ins, by class path: ``asof`` (offline), ``wide_sqlite`` (online), ``engine`` (batch).

``registry_file`` writes Feast's registry whole; the packages ``offline`` and ``online`` hold what
the first two are made of. They know Feast, Arrow and files, and nothing of TradingView.
"""
