"""The lakehouse: append-only Parquet, partitioned by the UTC date of the event.

In: Arrow tables in a dataset's schema. Out: files that any Parquet reader sees whole or not at all.

``schema``   the Arrow schema, derived from the catalog
``parts``    where parts lie, and reading them
``current``  of restated rows, the last version
``lookup``   when a symbol was last seen
``writer``   the one primitive that adds a part
``lock``     one writing run at a time
"""

from ingestion.lakehouse.current import by_date, current, read_current
from ingestion.lakehouse.lock import lakehouse_lock
from ingestion.lakehouse.lookup import newest_between, newest_known
from ingestion.lakehouse.parts import list_parts, read_part
from ingestion.lakehouse.schema import arrow_schema
from ingestion.lakehouse.writer import append_part, make_readable, sweep_staging, write_run_file

__all__ = [
    "append_part",
    "arrow_schema",
    "by_date",
    "current",
    "lakehouse_lock",
    "list_parts",
    "make_readable",
    "newest_between",
    "newest_known",
    "read_current",
    "read_part",
    "sweep_staging",
    "write_run_file",
]
