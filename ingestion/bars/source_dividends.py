"""Dividends of a bar source: as traded, withdrawn where they are gone, compared with the prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from ingestion.bars.arrays import close_seconds
from ingestion.bars.dividends import Dividend, dividends_of
from ingestion.bars.ex_dates import undisputed
from ingestion.bars.fetching import AnswerRows, OfRequest
from ingestion.bars.refusals import Reason, Refusal, Refusals
from ingestion.bars.source import Source
from ingestion.base.instants import utc_date
from ingestion.base.reading import reading_again
from ingestion.catalog import DIVIDENDS, OHLCV_1D
from ingestion.lakehouse import Lakehouse, list_parts, parts_of, read_current, read_current_of
from ingestion.markets.sessions import previous_close

_LARGE = 0.02
"""Share of the price from which on a dividend shows in it."""
_NOISE = 0.04
"""By how much an open may differ from the close before for the market's sake, as a fraction."""


@dataclass
class SourceDividends:
    """What the answers of a bar source say of dividends."""

    found: dict[tuple[str, int], Dividend] = field(default_factory=dict)
    """By symbol and close of the ex-date's session."""
    decimals: dict[str, int | None] = field(default_factory=dict)
    """By symbol that the source has listed all dividends of, to how many it rounds amounts."""
    spans: dict[str, tuple[date, date]] = field(default_factory=dict)
    """By the same symbols, the dates between which it lists them, both included."""

    def read(self, rows: AnswerRows, refusals: Refusals, currencies: Mapping[str, str]) -> int:
        """Take the dividends of an answer, and refuse what is none; return how many rows were."""
        request, refused = rows.answer.request, 0
        naming = OfRequest(request.symbols)
        days: dict[tuple[str, int], list[Dividend]] = {}

        def refuse(each: Dividend) -> None:
            amount = f"{each.amount:g} on {each.ex_date}"
            refusals.add(Refusal(str(rows), each.row, each.symbol, Reason.DIVIDENDS, amount))

        for file, decimals in rows.dividends:
            good = list(dividends_of(file, naming, refusals, currencies, is_first=False))
            refused += len(file) - len(good)
            names = [file.name] if file.name else (file.symbols() or ([], None))[0]
            for symbol in filter(None, (naming.unify(name or "").symbol for name in names)):
                self.decimals[symbol] = decimals
                self.spans[symbol] = request.first, request.last
            for each in good:
                days.setdefault((each.symbol, each.close), []).append(each)
        agreed, _ = undisputed(days.values(), lambda each: (each.amount, each.currency), refuse)
        self.found |= {(each.symbol, each.close): each for each in agreed}
        return refused

    @property
    def dividends(self) -> list[Dividend]:
        """One per symbol and ex-date, as the source gives them."""
        return [*self.found.values()]

    def without(self, symbols: Iterable[str]) -> SourceDividends:
        """Return it without some symbols."""
        left = self.spans.keys() - set(symbols)
        return SourceDividends(
            {key: each for key, each in self.found.items() if key[0] in left},
            {symbol: self.decimals[symbol] for symbol in left},
            {symbol: self.spans[symbol] for symbol in left},
        )

    def as_traded(self, ratios: Mapping[Dividend, float]) -> dict[Dividend, float]:
        """Return the dividends per share as paid, each with how far rounding may have moved it.

        Parameters
        ----------
        ratios
            By dividend, the product of the split ratios after its session.
        """
        return dict(self._as_traded(ratios))

    def _as_traded(self, ratios: Mapping[Dividend, float]) -> Iterator[tuple[Dividend, float]]:
        for each in self.dividends:
            decimals = self.decimals.get(each.symbol)
            rounding = 0.0 if decimals is None else 0.5 * 10.0**-decimals * ratios[each]
            amount = each.amount * ratios[each]
            if ratios[each] != 1:
                amount = shortest(amount, rounding)
            yield replace(each, amount=amount), rounding


def shortest(amount: float, rounding: float) -> float:
    """Return the number of the fewest decimals that rounding may have made into another.

    Examples
    --------
    Apple paid 3.05 in February 2014; after splits of 7:1 and 4:1 that is 0.108929.

    >>> shortest(0.108929 * 28, 0.5e-6 * 28)
    3.05
    """
    for decimals in range(7):
        if abs((short := round(amount, decimals)) - amount) <= rounding * (1 + 1e-9):
            return short
    return amount


@dataclass(frozen=True)
class Gone:
    """Recorded dividends that a source does not list any more."""

    withdrawn: list[Dividend]
    """With an amount of 0: there was none."""
    missing: list[str]
    """Symbols of which it lists none at all, although several are recorded: they are kept."""


def gone(lakehouse: Lakehouse, listed: SourceDividends, source: str) -> Gone:
    """Compare what a source lists with what is recorded of it."""
    if not listed.spans:
        return Gone([], [])
    first = min(first for first, _ in listed.spans.values())
    rows = reading_again(
        lambda: read_current(list_parts(lakehouse, DIVIDENDS, first), DIVIDENDS)
    ).to_pylist()
    lost: dict[str, list[Dividend]] = {}
    for row in rows:
        symbol, ex_date = row["symbol"], date.fromisoformat(row["ex_date"])
        begin, end = listed.spans.get(symbol, (date.max, date.min))
        is_own = Source.parse(row["source"]).bar_source == source
        is_listed = (symbol, row["timestamp"]) in listed.found
        if is_own and begin <= ex_date <= end and row["amount"] and not is_listed:
            none = Dividend(symbol, ex_date, row["timestamp"], 0.0, row["currency"], 0)
            lost.setdefault(symbol, []).append(none)
    named = {symbol for symbol, _ in listed.found}
    missing = sorted(
        each for each, several in lost.items() if len(several) > 1 and each not in named
    )
    withdrawn = [each for name, several in lost.items() if name not in missing for each in several]
    return Gone(withdrawn, missing)


def far_from_drop(lakehouse: Lakehouse, dividends: Iterable[Dividend]) -> list[str]:
    """Return the large dividends for which the price has not fallen on the ex-date, for people.

    A share opens on the ex-date lower by about the dividend, and by the market's own move. Compared
    is what is at least 2 % of the close before: it must explain the move but for 4 % of the price,
    or half of the dividend if that is more. A currency's hundredths, and dividends that were
    invented, do not.
    """
    days: dict[date, list[Dividend]] = {}
    for each in dividends:
        days.setdefault(utc_date(each.close), []).append(each)
    read = _reader(lakehouse)
    found: list[str] = []
    for day, several in sorted(days.items()):
        symbols = sorted({each.symbol for each in several})
        opens = read(day, symbols)
        for each in several:
            before = previous_close(each.symbol, each.close)
            bar = opens.get((each.symbol, each.close))
            if before is None or bar is None:
                continue
            last = read(utc_date(before), symbols).get((each.symbol, before))
            if last is None:
                continue
            close = last[1] / bar[2]
            share, move = each.amount / close, bar[0] / close - 1
            if share >= _LARGE and abs(move + share) > max(_NOISE, share / 2):
                found.append(
                    f"{each.symbol} {each.ex_date}: {each.amount:g} is {share:.1%} of the price, "
                    f"which moved by {move:+.1%}"
                )
    return found


_Bars = Mapping[tuple[str, int], tuple[float, float, float]]


def _reader(lakehouse: Lakehouse) -> Callable[[date, Sequence[str]], _Bars]:
    """Return what reads open, close and split ratio of some symbols' bars of a UTC date."""
    known: dict[tuple[date, tuple[str, ...]], _Bars] = {}
    columns = ["symbol", "timestamp", "event_timestamp", "open", "close", "split_ratio"]

    def read(day: date, symbols: Sequence[str]) -> _Bars:
        key = day, tuple(symbols)
        if key not in known:
            rows = reading_again(
                lambda: read_current_of(
                    parts_of(lakehouse, OHLCV_1D, day), OHLCV_1D, symbols, columns
                )
            )
            names, closes = rows["symbol"].to_pylist(), close_seconds(rows).tolist()
            values = zip(*(rows[name].to_pylist() for name in columns[3:]), strict=True)
            known.clear()
            known[key] = dict(zip(zip(names, closes, strict=True), values, strict=True))
        return known[key]

    return read
