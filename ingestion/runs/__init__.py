"""Runs: their ids, their receipts, and which files their folders contain.

``run``           one run of a job: id, lock, scratch folders, and the receipt that it leaves
``receipt_file``  reading receipts
``run_folders``   which files a run's folder contains
``quarantine``    rows that were kept out
``consistency``   receipts against rows
"""
