"""Former class paths of the Feast plug-ins; they are in :mod:`ingestion.plugins` now."""
