"""The parts of the online stores, one row per entity.

The same for all stores:

``rows``        rows in memory, and ``Tables``: what a store does in its own way
``layout``      a row's features, and their values as bytes
``keys``        entity keys as bytes
``reading``     what is valid at an instant; reads without Feast
``conversion``  what a feature view is to the store; rows and values from and to Feast and Arrow
``columnar``    which requests are answered by columns, and Feast's response made of them
``search``      the rows whose vectors are nearest to one
``store``       the class that Feast calls; each store gives it its tables

``packed``      a row's values as one text of bytes
``opening``     the tables that ``feature_store.yaml`` names

SQLite's own, for :mod:`ingestion.plugins.wide_sqlite`:

``sqlite``         its ``Tables``
``sqlite_file``    the file: connections, transactions, what goes wrong with it
``sqlite_tables``  the tables in it: made, changed, written, read
``sqlite_look``    a look that leaves no trace

Redis's own, for :mod:`ingestion.plugins.wide_redis`: ``redis_tables``. PostgreSQL's, for
:mod:`ingestion.plugins.wide_postgres`: ``postgres_tables``.
"""
