"""From TradingView's scanner to the lakehouse, and from there to Feast.

The rooms, each importing only those above it:

``errors`` ``settings`` ``clock``
    the error tree, the configuration, and what "now" is
``reading`` ``folders`` ``spill`` ``store_files``
    files and folders that other processes replace meanwhile; rows that do not fit in memory; where
    Feast's two files are
``symbols`` ``candidates`` ``exchanges`` ``calendars`` ``hours`` ``closes`` ``sessions`` ``placing``
    unified symbols, the file that lists them, which hours their markets keep, when a bar closes,
    and which session it is of
``lakehouse``
    date-partitioned Parquet: atomic append, read, lock
``scanner``
    TradingView's wire format, batching and retries
``bars`` ``local`` ``labels``
    vendors' bars; formulas computed from daily bars; forward returns
``quality``
    coverage and receipts
``replay``
    a loopback server that speaks the scanner's protocol over recorded bars
``workspace``
    a project's folder of its own
``jobs``
    the daily flow, a module a job
``options`` ``render`` ``commands`` ``cli``
    the command line

Features are declared in :mod:`feature_repo.catalog`; start reading there.
"""
