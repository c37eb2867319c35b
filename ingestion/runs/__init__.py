"""Runs: their ids, their receipts, and what lies in their folders.

``run_id``        ids, in the order of their starts
``receipt``       a job's receipt, written when it ends, whatever happened
``receipt_file``  reading receipts
``run_folders``   which files a run's folder contains
``quarantine``    rows that were kept out
``consistency``   receipts against rows
"""
