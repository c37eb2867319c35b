"""Requests in flight, bounded retries, back-off.

A campaign begins with questions. Each round asks all that are open, a few at a time, and the
campaign turns every outcome into the questions that are still open, which the next round asks:
so only what is missing is asked again. A round is cut short when the scanner asks for a pause or
fails several times in a row, and the next one waits first.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Generic, TypeVar

from ingestion.base.progress import note
from ingestion.scanner.transport import Rejected, ScannerOptions, Transient
from ingestion.scanner.values import Cell, RowReader
from ingestion.scanner.wire import Answer, Page, Tickers

QuestionT = TypeVar("QuestionT", Tickers, Page)
Outcome = Answer | Transient | Rejected

_MOST_FRUITLESS_ANSWERS = 2
"""Rounds in a row that answers without anything new are accepted: waiting longer for a scanner that
answers would not help."""

LEFT_OUT = "the scanner's answers leave it out"
"""Why a question is given up though the scanner answers."""


@dataclass(frozen=True)
class Attempt:
    """One round, for the receipt: of the symbols requested, ``failed`` are those not settled."""

    idx: int
    requests: int
    requested: int
    fetched: int
    failed: int
    duration_s: float


class Campaign(ABC, Generic[QuestionT]):
    """What a fetch knows so far, and what it makes of an outcome.

    Parameters
    ----------
    reader
        Reads the rows.
    """

    def __init__(self, reader: RowReader) -> None:
        self.rows: dict[str, tuple[Cell, ...]] = {}
        """Usable rows."""
        self.asked_at: dict[str, datetime] = {}
        """By symbol, the instant before the request that brought its row."""
        self.failed: dict[str, str] = {}
        """By symbol, why there is no row, and none is asked for any more."""
        self.was_cut_short = False
        """Whether questions were given up because asking on made no sense."""
        self.duplicates = 0
        self._reader = reader

    @property
    def settled(self) -> int:
        """Symbols whose fate is known so far."""
        return len(self.rows) + len(self.failed)

    @abstractmethod
    def absorb(self, question: QuestionT, answer: Answer) -> list[QuestionT]:
        """Take an answer; return what is to be asked again of this question."""

    @abstractmethod
    def split(self, question: QuestionT, reason: str) -> list[QuestionT]:
        """Take a rejection; return smaller questions, or record that there is no use."""

    @abstractmethod
    def give_up(self, question: QuestionT, reason: str) -> None:
        """Record that a question is not asked again, though another answer might come."""


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
        Called after each answer with the number of symbols that it settled.

    Raises
    ------
    UnknownColumn, ScannerRefused
        As ``ask`` raises them: no retry would help, and nothing more is sent.
    """
    attempts: list[Attempt] = []
    pending = list(questions)
    barren = 0
    while pending:
        started, fetched, failed = time.monotonic(), len(campaign.rows), len(campaign.failed)
        this = _Round()
        still_open: list[QuestionT] = []
        unsent: list[QuestionT] = []
        for question, outcome in _ask_all(pending, ask, options.in_flight):
            before = campaign.settled
            if outcome is None:
                unsent.append(question)
                continue
            this.requests += outcome.requests if isinstance(outcome, Answer) else 1
            this.requested += len(question)
            still_open += _take(campaign, question, outcome, this)
            progress(campaign.settled - before)
        open_symbols = sum(map(len, still_open))
        attempts.append(
            Attempt(
                idx=len(attempts),
                requests=this.requests,
                requested=this.requested,
                fetched=len(campaign.rows) - fetched,
                failed=open_symbols + len(campaign.failed) - failed,
                duration_s=round(time.monotonic() - started, 3),
            )
        )
        pending = still_open + unsent
        if not pending:
            break
        progressed = len(campaign.rows) > fetched or this.rejected > 0
        barren = 0 if progressed else barren + 1
        if reason := _hopeless(this, barren, options):
            _give_up(campaign, pending, reason, progress)
            break
        if this.transients or not progressed:
            wait = _wait(barren, this.retry_after, options)
            if this.transients:
                note(f"{this.transients[-1]}; asking again in {wait:,.0f} s")
            time.sleep(wait)
    return attempts


def _take(
    campaign: Campaign[QuestionT],
    question: QuestionT,
    outcome: Outcome,
    this: _Round,
) -> list[QuestionT]:
    if isinstance(outcome, Answer):
        return campaign.absorb(question, outcome)
    if isinstance(outcome, Transient):
        this.transients.append(outcome)
        return [question]
    this.rejected += 1
    return campaign.split(question, str(outcome))


def _give_up(
    campaign: Campaign[QuestionT],
    questions: Sequence[QuestionT],
    reason: str,
    progress: Callable[[int], None],
) -> None:
    before = campaign.settled
    for question in questions:
        campaign.give_up(question, reason)
    progress(campaign.settled - before)


def _ask_all(
    questions: Sequence[QuestionT], ask: Callable[[QuestionT], Answer], in_flight: int
) -> Iterator[tuple[QuestionT, Outcome | None]]:
    """Yield each question with its outcome as it comes; None for one that was not sent."""
    crew = _Crew(questions, ask, in_flight)
    failures_in_a_row = 0
    try:
        for _ in questions:
            question, outcome = crew.next()
            if isinstance(outcome, Transient):
                failures_in_a_row += 1
                if failures_in_a_row > in_flight:
                    crew.halt.set()
            elif outcome is not None:
                failures_in_a_row = 0
            yield question, outcome
    finally:
        crew.halt.set()


class _Crew(Generic[QuestionT]):
    """Threads that ask, until nothing is left or one of them says halt.

    They are daemons, unlike an executor's: after Ctrl-C nobody waits for an answer under way, and
    the interpreter need not either.
    """

    def __init__(
        self, questions: Sequence[QuestionT], ask: Callable[[QuestionT], Answer], size: int
    ) -> None:
        self.halt = Event()
        self._ask: Callable[[QuestionT], Answer] = ask
        self._todo: SimpleQueue[QuestionT] = SimpleQueue()
        self._done: SimpleQueue[tuple[QuestionT, Outcome | BaseException | None]] = SimpleQueue()
        for question in questions:
            self._todo.put(question)
        for _ in range(min(size, len(questions))):
            Thread(target=self._work, name="scanner", daemon=True).start()

    def next(self) -> tuple[QuestionT, Outcome | None]:
        """Wait for an outcome; raise what its thread has raised."""
        question, outcome = self._done.get()
        if outcome is None or isinstance(outcome, Answer | Transient | Rejected):
            return question, outcome
        raise outcome

    def _work(self) -> None:
        while True:
            try:
                question = self._todo.get_nowait()
            except Empty:
                return
            self._done.put((question, None if self.halt.is_set() else self._outcome(question)))

    def _outcome(self, question: QuestionT) -> Outcome | BaseException:
        # The thread that fails halts the others: it would ask its next question before the caller
        # has read this outcome.
        try:
            return self._ask(question)
        except Rejected as failure:
            return failure
        except Transient as failure:
            if failure.retry_after is not None:
                self.halt.set()
            return failure
        except BaseException as failure:  # noqa: BLE001 - the calling thread raises it
            self.halt.set()
            return failure


def _hopeless(this: _Round, barren: int, options: ScannerOptions) -> str | None:
    """Say why asking on makes no sense; none if it does."""
    if this.retry_after > options.longest_retry_after:
        return f"the scanner asked to wait {this.retry_after:,.0f} s"
    if this.transients:
        return str(this.transients[-1]) if barren > options.retries else None
    fruitless = barren > min(options.retries, _MOST_FRUITLESS_ANSWERS)
    return LEFT_OUT if fruitless else None


def _wait(barren: int, retry_after: float, options: ScannerOptions) -> float:
    backoff = min(options.backoff * 2.0 ** max(barren - 1, 0), options.longest_backoff)
    # The jitter keeps installations that failed together from coming back together.
    return max(retry_after, backoff * random.uniform(0.8, 1.2))
