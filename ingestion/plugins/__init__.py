"""Feast plug-ins, by class path: ``asof`` (offline), ``wide_sqlite`` (online), ``engine`` (batch).

``registry_file`` writes Feast's registry whole. The first two are made of the packages ``offline``
and ``online``. They know Feast, Arrow and files, and nothing of TradingView.
"""
