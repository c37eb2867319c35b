"""What ``feast apply`` loads."""

from ingestion.feast_objects import define

globals().update(define(__file__))
