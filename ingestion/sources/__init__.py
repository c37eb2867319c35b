"""Bar sources that ship: vendors' wire formats, turned into tables of bars.

Each module asks one vendor and yields what :class:`~ingestion.catalog.BarSource` takes; pauses,
repetition, placing, checking and storing are shared (:mod:`ingestion.bars.fetching`). The
declarations are in ``feature_repo/sources/``, so that a project can replace them.

``http``       one question to a vendor, in bounded memory and time
``yahoo``      Yahoo Finance's chart endpoint
``tiingo``     Tiingo's end-of-day prices
``exchanges``  crypto exchanges, through ccxt
"""
