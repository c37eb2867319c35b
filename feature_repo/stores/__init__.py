"""Feast plug-ins, by class path: ``asof`` (offline), ``wide_sqlite`` (online), ``engine`` (batch).

They know Feast, Arrow and files, and nothing of TradingView.
"""
