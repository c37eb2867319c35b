"""Runs: their ids, their receipts, and which files their folders contain.

``run``           one run of a job: id, lock, scratch folders, and the receipt that it leaves
``receipt_file``  reading receipts
``quarantine``    rows that were kept out
``records``       receipts, ledgers and folders against each other and the rows
"""
