"""Checks that decide what is published.

``check``        whether rows may be published, by Great Expectations and the catalog
``gate``         the gate before the lakehouse: quarantine, and fast screening of history
``promotion``    what speaks for and against serving the newest rows, with the gate's verdict
``rules``        what rows must fulfil, each rule declared once, and rows parted by it
``history``      previous and newest rows, for comparison
``waivers``      checks that are set aside for a time
``parity``       how far served values are from recomputed ones, and its receipt
"""
