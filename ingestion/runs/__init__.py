"""Runs: their ids, their receipts, and which files their folders contain.

``run``           one run of a job: id, lock, scratch folders, and the receipt that it leaves
``receipt_file``  reading receipts
``quarantine``    rows that were kept out
``run_folder``    what one run's folder says, and what of it is wrong
``records``       what all folders say; what is as it was is not read again
``missing_files`` parts and receipts that are gone
"""
