"""The one file that ``feast apply`` loads: Feast looks for its objects among a module's names."""

from ingestion.base.settings import Settings
from ingestion.feast_objects.definitions import define

globals().update(define(Settings.from_environment().lakehouse)._asdict())
