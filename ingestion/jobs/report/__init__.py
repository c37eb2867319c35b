"""The report: gathering its figures from the lakehouse and the receipts.

``make_report``   all of it, into one file
``freshness``     the verdict, and how fresh everything is
``stored_rows``   the rows of the last year, read once for the four that follow
``completeness``  which symbols had a row on which date, by group and market
``distributions`` how each feature's values are distributed now, and were before
``revisions``     rows that were written again, and rows that came late
``feed_lag``      how far the feed was behind
``agreement``     served against recomputed values, by column and date
``operation``     what flows did: what was stopped, how long they took, what they added
``ranking``       today's selection, and what has moved since the day before
``catalogue``     each feature: what it means, where it comes from, who reads it
``report_server`` the page on this machine, made again when there is something new
"""
