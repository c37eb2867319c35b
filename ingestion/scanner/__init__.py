"""TradingView's scanner: rows of columns for symbols, over HTTP.

In: symbols or a market's name, and catalog columns. Out: a :class:`Snapshot`, which accounts for
every symbol asked: a row, a reason for failing, or the scanner's word that it does not know it.

``wire``       request bodies and answers, as they are on the wire
``values``     one row's values, checked and converted
``transport``  one POST: an answer, or a failure that says whether asking again can help
``deadline``   how long one exchange may take, whatever trickles in
``rounds``     requests in flight, bounded retries, back-off
``client``     what is still missing, and what to ask next: for tickers, and for a whole market
"""

from ingestion.scanner.client import ScannerClient, Snapshot
from ingestion.scanner.rounds import Attempt
from ingestion.scanner.transport import ScannerOptions

__all__ = ["Attempt", "ScannerClient", "ScannerOptions", "Snapshot"]
