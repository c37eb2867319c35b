"""From TradingView's scanner to the lakehouse, and from there to Feast.

The rooms, each importing only those above it:

``errors`` ``settings`` ``clock``
    the error tree, the configuration, and what "now" is
``lakehouse``
    date-partitioned Parquet: atomic append, read, lock
``scanner``
    TradingView's wire format, batching and retries
``sessions`` ``local``
    market hours; formulas computed from daily bars
``quality``
    coverage and receipts
``replay``
    a loopback server that speaks the scanner's protocol over recorded bars
``jobs`` ``cli``
    the daily flow, a module a job, and the command line

Features are declared in :mod:`feature_repo.catalog`; start reading there.
"""
