"""From TradingView's scanner to the lakehouse, and from there to Feast.

The rooms, each importing only those above it (``tests/test_rooms.py`` proves it):

``base``           errors, now, the settings, files that other processes replace
``catalog``        what exists: columns, datasets, feature groups; start reading here
``lakehouse``      date-partitioned Parquet: atomic append, read, lock, ledger
``markets``        symbols, exchanges, sessions, calendars
``formulas``       one value per bar, each declared beside its function
``project``        a project's settings and what its Feast repository declares
``runs``           run ids, receipts, what lies in a run's folder
``scanner``        TradingView's wire format, batching and retries
``bars``           vendors' and scanned bars, placed in sessions and checked; splits
``quality``        checks and the gate
``plugins``        the Feast plug-ins; they use ``base`` alone and serve any Feast repository
``datasets``       forward returns, labels, universes
``replay``         a loopback server that speaks the scanner's protocol over recorded bars
``feast_objects``  Feast's entity, sources, views and services, built from the catalog
``report``         the report's page: from plain figures to HTML
``jobs``           one function per job, and the daily flow
``cli``            the command line
"""
