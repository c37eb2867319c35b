"""The lakehouse: append-only Parquet, partitioned by the UTC date of the event.

In: Arrow tables in a dataset's schema. Out: files that any Parquet reader sees whole or not at all.

``schema``   the Arrow schema, derived from the catalog
``parts``    where parts lie, and reading them
``order``    do rows lie in the order of their key
``current``  of restated rows, the last version
``symbols``  what was known of the symbols at an instant
``lookup``   when a symbol was last seen
``evolution`` checks that the declared columns fit the stored parts
``writer``   the one primitive that adds a part
``ledger``   what each run wrote, with the hash of each part
``origins``  which run a row came from, also in a merged part
``inspect``  whether a part is as its dataset says
``compact``  the parts of a date become one
``history``  all versions of a symbol's rows, each with its run
``staging``  files and folders on the disk
``lock``     one writing run at a time
"""

from ingestion.lakehouse.current import (
    by_date,
    current,
    is_withdrawn,
    read_current,
    read_current_of,
    standing,
    without_withdrawn,
)
from ingestion.lakehouse.evolution import check_stored
from ingestion.lakehouse.lock import lakehouse_lock
from ingestion.lakehouse.lookup import newest_between, newest_known
from ingestion.lakehouse.parts import list_parts, read_file, read_part
from ingestion.lakehouse.schema import arrow_schema
from ingestion.lakehouse.symbols import active_symbols, read_symbols, symbols_at
from ingestion.lakehouse.writer import (
    append_part,
    append_parts,
    append_rows,
    created_after,
    created_at,
    write_run_file,
)

__all__ = [
    "active_symbols",
    "append_part",
    "append_parts",
    "append_rows",
    "arrow_schema",
    "by_date",
    "check_stored",
    "created_after",
    "created_at",
    "current",
    "is_withdrawn",
    "lakehouse_lock",
    "list_parts",
    "newest_between",
    "newest_known",
    "read_current",
    "read_current_of",
    "read_file",
    "read_part",
    "read_symbols",
    "standing",
    "symbols_at",
    "without_withdrawn",
    "write_run_file",
]
