"""Daily bars on their way into ``ohlcv_1d``, from vendors' files and from the scanner.

In: CSV and Parquet under many column names, or a snapshot's rows. Out: rows of ``ohlcv_1d``, one a
symbol and session, as traded, and a list of what was refused.

``vendors`` ``headers``   what vendors call columns, in one line or two
``layout``    where a file's rows begin, and which columns mean what
``tables`` ``survey``   its rows as they are; what only all of them together tell
``dates`` ``times``     texts to dates; session labels and instants, told apart
``numbers``   texts to numbers
``read``      the above: a file's columns, by role
``instruments``   whether a file without symbols is of one instrument
``file_names`` ``vendor_symbols`` ``names``   vendor's name → unified symbol
``closing``   open and close of each bar
``checks``    what a single bar must satisfy
``gather``    the above, for one file, batch by batch
``splits``    reading splits; split-adjusted prices back to as traded
``duplicates``  several bars of one session
``series``    the order of a symbol's bars
``nearby``    what the lakehouse has around them, read once for all
``adjustment`` whether prices agree with the splits that are given for them
``leaps``     bad bars, and leaps that look like splits nobody recorded
``restated``  what an import changes of the stored past
``pending``   splits without a bar: they take effect at the next one
``splitting`` which instruments split
``suspected`` suspected splits, as lines that can be given back
``judgement`` what all bars are judged by, and where verdicts go
``prepare``   the above, for all bars of some symbols
``pipeline``  batches of files in, whole symbols to be judged, whole dates to be written
``ahead``     splits whose bar is still to come
``witness``   days on which the market and its calendar disagree
``twins``     stored bars of a session under another close
``withdrawn`` bars that somebody has taken back
``stored`` ``store``   one date of the lakehouse; comparing with it, appending what is new
``receipt``   counts and refusals, for the receipt
``model`` ``refusals`` ``findings``   what is passed between them

For the scanner's bars:

``scanned``   which rows are closed and good bars
``suspects``  previous closes that have changed as by a split
``held``      bars of either path that wait for a split to be recorded

What a file says about splits: a column for them is a full account, 1 or 0 meaning none that day. A
file without one leaves ratios that the lakehouse holds as they are.
"""
