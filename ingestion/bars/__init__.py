"""Daily bars on their way into ``ohlcv_1d``: from vendors' files, bar sources and the scanner.

In: CSV and Parquet under many column names, what a bar source yields, or the rows of a snapshot.
Out: rows of ``ohlcv_1d``, one per symbol and session, with prices as traded, and a list of what was
refused.

The way of an import, from file to lakehouse:

``layout``          where a file's rows begin, and these as columns by position
``reading``         a file's rows, as columns by role, some at a time
``bar_reader``      each row placed in its session, and judged by itself
``arrays``          bars as arrays, how they are found, and regrouped by symbol and by date
``judging``         all bars of a symbol together: one per session, as traded
``writing``         what is new, or differs from the stored bars, is appended

A bar source in place of files:

``fetching``        it is asked, and what it yields becomes rows that files might have

What reading needs:

``header``          what the names of columns mean
``survey``          what only all cells of a file together show
``cells``           texts to numbers, dates and times
``vendor_symbols``  vendor's name → unified symbol
``file_names``      a file's name → vendor's name
``placing``         which session a time names, and where bars disagree with the calendars

What judging and writing need:

``duplicates``      several bars of one session, in an import or beside a stored one
``source``          the column ``source``: where a bar comes from
``refusals``        reasons, refused rows, findings
``stored_bars``     stored bars around others, and those of a date
``held_bars``       bars that wait until a split is recorded or denied
``splits``          recorded splits, undoing an adjustment
``split_files``     files of splits, as vendors write them
``pending_splits``  splits without a bar: they take effect at the next one
``given_splits``    what prices show of splits that are given
``leaps``           leaps of prices: bad bars, suspected splits

For the daily job, and for whoever asks what is missing:

``scanned``         which rows of a snapshot are closed bars, and what previous closes say
``recent_bars``     the bars of the last days, without their values
``attendance``      which sessions symbols have bars of
``holes``           which sessions the lakehouse lacks, accepted ones and missed bars

A file's column for splits is a full account: 1 or 0 means that there was none that day. A file
without such a column leaves recorded ratios as they are. Begin with ``bar_reader``.
"""
