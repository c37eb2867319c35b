"""A stand-in for TradingView's scanner: a loopback server over recorded bars.

It speaks the scanner's protocol, serves at its clock each symbol's last closed bar, and fails on
demand in every way the scanner is known to. What it serves is real prices and, since nobody
publishes the technical columns of many symbols, columns computed from them by
:mod:`ingestion.formulas`.

``recordings``  recorded answers, served as they are where no bars are
``further``   columns of other frames, of companies and of coins: computed, or drawn from ranges
``drawn``     the ranges, and rows of them that fit together
``panel``     bars and their columns, and which of them are known at an instant
``changed_votes``  ratings by another rule of a vote from a date on
``protocol``  from a request's body to an answer's document
``faults``    the ways to fail, and the plan that says when
``loopback``  a server on this machine: sockets, whole answers, answers that are cut off
``server``    HTTP
``vendor``    the same for vendors of bars; ``yahoo`` speaks Yahoo's chart endpoint, ``tiingo``
              Tiingo's prices, ``exchanges`` what crypto exchanges do
"""

from ingestion.replay.changed_votes import ChangedVote
from ingestion.replay.faults import FAULTS, FaultPlan
from ingestion.replay.panel import Panel, asked_columns
from ingestion.replay.recordings import read_recording, read_recordings
from ingestion.replay.server import ReplayScanner, serve

__all__ = [
    "FAULTS",
    "ChangedVote",
    "FaultPlan",
    "Panel",
    "ReplayScanner",
    "asked_columns",
    "read_recording",
    "read_recordings",
    "serve",
]
