"""The lakehouse: append-only Parquet, partitioned by the UTC date of the event.

In: Arrow tables in a dataset's schema. Out: files that any Parquet reader sees whole or not at all.

What other rooms do with it, all by the names below:

- list parts (``list_parts``) and read columns of them (``read_part``, ``read_current``, …);
- create a part, never over another (``append_part``, ``append_parts``, ``append_rows``);
- replace parts by a merged one (``compact.merge_parts``);
- lock it for one writing run (``lakehouse_lock``);
- list runs (``run_ids``), and get and put their files (``run_file``, ``write_run_file``).

The first argument is always the :class:`Lakehouse`, of which other rooms know nothing else; a part
and a run's file are known by their ``key`` below its root.

``schema``      the Arrow schema, derived from the catalog, and the order of rows
``parts``       where parts are, and reading them
``current``     of restated rows, the last version; of a symbol, its newest row
``symbols``     what was known of the symbols at an instant
``members``     what was recorded of who is in a universe
``membership``  … and who was in it at an instant, by these records
``evolution``   checks that the declared columns fit the stored parts
``writer``      the one primitive that adds a part
``ledger``      what each run wrote, with the hash of each part
``run_files``   receipts, ledgers, quarantine: the files of the runs' own folders
``ended_runs``  which of these files the runs that have ended wrote
``origins``     which run a row came from, also in a merged part
``inspect``     whether a part is as its dataset says, and what is in the folder and is not ours
``compact``     the parts of a date become one; the lock, whose holder finishes killed merges
``history``     all versions of a symbol's rows, each with its run
``copying``     the whole lakehouse goes to another place
``caches``      files that may be deleted at any time
``symbol_spans``  from which date to which a symbol has rows
``seen``        which parts something was made from, and what is new since
``backend``     what a place for a lakehouse must be able to do
``local_disk``  the place that is a folder of this machine; only it changes files
``object_store``  the place that is a bucket's prefix; ``lease`` is its lock
"""

from ingestion.lakehouse.backend import Lakehouse, open_lakehouse
from ingestion.lakehouse.caches import CacheFile
from ingestion.lakehouse.compact import lakehouse_lock
from ingestion.lakehouse.current import (
    by_date,
    current,
    is_withdrawn,
    newest_between,
    newest_events,
    newest_known,
    read_current,
    read_current_of,
    standing,
    without_withdrawn,
)
from ingestion.lakehouse.evolution import check_stored
from ingestion.lakehouse.inspect import foreign_files
from ingestion.lakehouse.local_disk import LocalDisk
from ingestion.lakehouse.members import IMPORTED, read_members, recorded_universes
from ingestion.lakehouse.parts import (
    Part,
    days_back,
    list_dates,
    list_parts,
    newest_part,
    parts_of,
    read_file,
    read_metadata,
    read_part,
    replaced_parts,
    utc_date,
)
from ingestion.lakehouse.run_files import (
    RunFile,
    files_of_run,
    receipts_of_run,
    run_file,
    run_files,
    run_ids,
)
from ingestion.lakehouse.schema import arrow_schema
from ingestion.lakehouse.seen import SeenParts, read_unseen
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
    "IMPORTED",
    "CacheFile",
    "Lakehouse",
    "LocalDisk",
    "Part",
    "RunFile",
    "SeenParts",
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
    "days_back",
    "files_of_run",
    "foreign_files",
    "is_withdrawn",
    "lakehouse_lock",
    "list_dates",
    "list_parts",
    "newest_between",
    "newest_events",
    "newest_known",
    "newest_part",
    "open_lakehouse",
    "parts_of",
    "read_current",
    "read_current_of",
    "read_file",
    "read_members",
    "read_metadata",
    "read_part",
    "read_symbols",
    "read_unseen",
    "receipts_of_run",
    "recorded_universes",
    "replaced_parts",
    "run_file",
    "run_files",
    "run_ids",
    "standing",
    "symbols_at",
    "utc_date",
    "without_withdrawn",
    "write_run_file",
]
