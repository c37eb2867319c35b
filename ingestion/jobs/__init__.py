"""Jobs: functions from settings and a request to a result; they print nothing.

``ingest``   scans, vendors' bars, what is missing of them
``compute``  features from bars, parity
``serve``    registry, online store, training sets, selection
``audit``    status, verification, lineage, gate, compaction
``flow``     the daily flow: each job in turn

The command line (:mod:`ingestion.cli`) turns results into text or JSON. Jobs that need Feast
import it when they run: it takes seconds.
"""
