"""TradingView's scanner: rows of columns for symbols, over HTTP.

In: symbols or a market's name, and catalog columns. Out: a :class:`Snapshot`, which accounts for
every symbol asked: a row, a reason for failing, or the scanner's word that it does not know it.

``wire``       request bodies and answers, as they are on the wire
``snapshot``   what a scan has brought, and what each table takes of it
``plan``       what several tables need of one market, asked once
``pieces``     a request that is too wide, cut by columns
``values``     one row's cells, checked and converted
``transport``  one exchange: an answer, or a failure that says whether asking again can help
``rounds``     requests in flight, bounded retries, back-off
``client``     what is still missing, and what to ask next: for tickers, and for a whole market
"""

from ingestion.scanner.client import GLOBAL, ScannerClient
from ingestion.scanner.market import Listed
from ingestion.scanner.plan import ScanPlan, Table
from ingestion.scanner.rounds import Attempt
from ingestion.scanner.snapshot import Snapshot
from ingestion.scanner.transport import ScannerOptions

__all__ = [
    "GLOBAL",
    "Attempt",
    "Listed",
    "ScanPlan",
    "ScannerClient",
    "ScannerOptions",
    "Snapshot",
    "Table",
]
