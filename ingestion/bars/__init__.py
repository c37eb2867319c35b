"""Daily bars on their way into ``ohlcv_1d``: from vendors' files, bar sources and the scanner.

In: CSV and Parquet under many column names, what a bar source yields, or the rows of a snapshot.
Out: rows of ``ohlcv_1d``, one per symbol and session, with prices as traded, and a list of what was
refused.

The way of an import, from file to lakehouse:

``layout``          where a file's rows begin, and its columns by role
``reading``         a file's rows, as columns by role, some at a time
``bar_reader``      each row placed in its session, and judged by itself
``regrouping``      all bars by symbol, and then by date
``judging``         all bars of a symbol together: one per session, as traded
``writing``         what is new, or differs from the stored bars, is appended

A bar source in place of files:

``asking``          one request after the other, with pauses, and again where that may help
``answers``         what it yields, as rows that files might have

What reading needs:

``header``          what the names of columns mean
``tables``          the rows of a CSV or Parquet file, as columns by position
``survey``          what only all cells of a file together show
``instruments``     whether a file that names no instrument is of several
``cell_numbers``    texts to numbers
``cell_times``      texts to dates and times
``vendor_symbols``  vendor's name → unified symbol
``file_names``      a file's name → vendor's name
``placing``         which session a time names
``trading_days``    where bars disagree with the calendars

What judging and writing need:

``arrays``          bars as arrays, how they are ordered and found
``duplicates``      one bar of each session
``source``          the column ``source``: where a bar comes from
``refusals``        reasons, refused rows, findings
``stored_bars``     stored bars around others, and those of a date
``held_bars``       bars that wait until a split is recorded or denied
``restatements``    what an import would change of the stored past
``twins``           stored bars of a session that close elsewhere
``splits``          files of splits, recorded splits, undoing an adjustment
``pending_splits``  splits without a bar: they take effect at the next one
``given_splits``    what prices show of splits that are given
``suspected_splits`` what may be a split that nobody recorded
``leaps``           leaps of prices: bad bars, suspected splits

For the daily job, and for whoever asks what is missing:

``scanned``         which rows of a snapshot are closed bars
``previous_closes`` unrecorded splits and missed bars, by the scanner's previous closes
``recent``          which bars of the last days there are, without their values
``attendance``      which sessions symbols have bars of
``holes``           which sessions the lakehouse lacks
``recorded_holes``  sessions that were accepted as missing, and single missed bars

A file's column for splits is a full account: 1 or 0 means that there was none that day. A file
without such a column leaves recorded ratios as they are. Begin with ``bar_reader``.
"""
