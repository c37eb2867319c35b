"""Requests in flight, bounded retries, back-off.

A campaign begins with questions. Each round asks all that are open, a few at a time, and the
campaign turns every outcome into the questions that are still open, which the next round asks:
so only what is missing is asked again. A round is cut short when the scanner asks for a pause or
fails several times in a row, and the next one waits first.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Protocol, TypeVar

from ingestion.errors import ScannerRefused
from ingestion.scanner.transport import Rejected, ScannerOptions, Transient
from ingestion.scanner.wire import Answer, Page, Tickers

QuestionT = TypeVar("QuestionT", Tickers, Page)


@dataclass(frozen=True)
class Attempt:
    """One round, for the receipt: of the symbols requested, ``failed`` are those not settled."""

    idx: int
    requests: int
    requested: int
    fetched: int
    failed: int
    duration_s: float


class Campaign(Protocol[QuestionT]):
    """What a fetch knows so far, and what it makes of an outcome."""

    @property
    def fetched(self) -> int:
        """Usable rows so far."""
        ...

    @property
    def gave_up(self) -> int:
        """Symbols that failed for good so far."""
        ...

    def absorb(self, question: QuestionT, answer: Answer) -> list[QuestionT]:
        """Take an answer; return what is to be asked again of this question."""
        ...

    def split(self, question: QuestionT, reason: str) -> list[QuestionT]:
        """Take a rejection; return smaller questions, or none to give it up."""
        ...

    def give_up(self, question: QuestionT, reason: str) -> None:
        """Record that a question will not be asked again."""
        ...


class _Round:
    """What happened in one round."""

    def __init__(self) -> None:
        self.requests = 0
        self.requested = 0
        self.rejected = 0
        self.transients: list[Transient] = []

    @property
    def retry_after(self) -> float:
        return max((failure.retry_after or 0.0 for failure in self.transients), default=0.0)


def run_rounds(
    campaign: Campaign[QuestionT],
    questions: Sequence[QuestionT],
    ask: Callable[[QuestionT], Answer],
    options: ScannerOptions,
    progress: Callable[[int], None],
) -> list[Attempt]:
    """Ask until nothing is open or the retries are used up.

    Parameters
    ----------
    campaign
        Takes every outcome, from the calling thread only.
    ask
        Asks one question; called from ``options.in_flight`` threads at once.
    progress
        Called with the number of new rows after each answer.

    Raises
    ------
    UnknownColumn, ScannerRefused
        As ``ask`` raises them: no retry would help, and nothing more is sent.
    """
    attempts: list[Attempt] = []
    pending = list(questions)
    barren = 0
    while pending:
        started, fetched, gave_up = time.monotonic(), campaign.fetched, campaign.gave_up
        this = _Round()
        still_open: list[QuestionT] = []
        unsent: list[QuestionT] = []
        for question, outcome in _ask_all(pending, ask, options.in_flight):
            before = campaign.fetched
            if outcome is None:
                unsent.append(question)
                continue
            this.requests += 1
            this.requested += len(question)
            still_open += _take(campaign, question, outcome, this)
            progress(campaign.fetched - before)
        open_symbols = sum(map(len, still_open))
        attempts.append(
            Attempt(
                idx=len(attempts),
                requests=this.requests,
                requested=this.requested,
                fetched=campaign.fetched - fetched,
                failed=open_symbols + campaign.gave_up - gave_up,
                duration_s=round(time.monotonic() - started, 3),
            )
        )
        pending = still_open + unsent
        if not pending:
            break
        progressed = campaign.fetched > fetched or this.rejected > 0
        barren = 0 if progressed else barren + 1
        if reason := _hopeless(this, barren, options):
            for question in pending:
                campaign.give_up(question, reason)
            break
        if this.transients or not progressed:
            time.sleep(_wait(barren, this.retry_after, options))
    return attempts


def _take(
    campaign: Campaign[QuestionT],
    question: QuestionT,
    outcome: Answer | Transient | Rejected,
    this: _Round,
) -> list[QuestionT]:
    if isinstance(outcome, Answer):
        return campaign.absorb(question, outcome)
    if isinstance(outcome, Transient):
        this.transients.append(outcome)
        return [question]
    this.rejected += 1
    smaller = campaign.split(question, str(outcome))
    if not smaller:
        campaign.give_up(question, str(outcome))
    return smaller


def _ask_all(
    questions: Sequence[QuestionT], ask: Callable[[QuestionT], Answer], in_flight: int
) -> Iterator[tuple[QuestionT, Answer | Transient | Rejected | None]]:
    """Yield each question with its outcome as it comes; None for one that was not sent."""
    halt = Event()

    def outcome_of(question: QuestionT) -> Answer | Transient | Rejected | None:
        if halt.is_set():
            return None
        # The thread that fails halts the others: it would ask its next question before the caller
        # has read this outcome.
        try:
            return ask(question)
        except Rejected as failure:
            return failure
        except Transient as failure:
            if failure.retry_after is not None:
                halt.set()
            return failure
        except ScannerRefused:
            halt.set()
            raise

    failures_in_a_row = 0
    with ThreadPoolExecutor(in_flight) as pool, _set_on_exit(halt):
        asked = {pool.submit(outcome_of, question): question for question in questions}
        for future in as_completed(asked):
            outcome = future.result()
            if isinstance(outcome, Transient):
                failures_in_a_row += 1
                if failures_in_a_row > in_flight:
                    halt.set()
            elif outcome is not None:
                failures_in_a_row = 0
            yield asked[future], outcome


@contextmanager
def _set_on_exit(event: Event) -> Iterator[None]:
    try:
        yield
    finally:
        event.set()


def _hopeless(this: _Round, barren: int, options: ScannerOptions) -> str | None:
    """Say why asking on makes no sense; none if it does."""
    if this.retry_after > options.longest_retry_after:
        return f"the scanner asked to wait {this.retry_after:,.0f} s"
    if barren <= options.retries:
        return None
    return str(this.transients[-1]) if this.transients else "the scanner's answers leave it out"


def _wait(barren: int, retry_after: float, options: ScannerOptions) -> float:
    backoff = min(options.backoff * 2.0 ** max(barren - 1, 0), options.longest_backoff)
    # The jitter keeps installations that failed together from coming back together.
    return max(retry_after, backoff * random.uniform(0.8, 1.2))
