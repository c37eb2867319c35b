"""A report with each kind of plot, table and card: figures that nobody measured."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from ingestion.report.contents import (
    Axis,
    Cell,
    FeatureCard,
    GroupCard,
    Kind,
    Mark,
    Note,
    Plot,
    Report,
    Section,
    Small,
    Table,
    Tile,
    Verdict,
)

DAYS = [date(2026, 1, 5) + timedelta(days=number) for number in range(90)]
MARKETS = ["NASDAQ", "NYSE", "EURONEXT", "BINANCE", "A_MARKET_WITH_A_LONG_NAME"]
SHARES = {"steps": (0.5, 0.9), "palette": ("q0", "q2", "q4"), "names": ("few", "most", "all")}


def plots() -> list[Plot]:
    """Return one plot of each kind but the small ones, and lines of one point over a year."""
    dates = [day.isoformat() for day in DAYS]
    months = [f"{2025 + n // 12}-{n % 12 + 1:02}-01" for n in range(13)]
    cells = [(day, market) for day in dates[-45:] for market in MARKETS]
    return [
        Plot("calendar", "Calendar", Kind.CALENDAR, Axis("week", "UTC"), Axis("day", "of the week"),
             {"date": dates, "value": [number / 89 for number in range(90)], "note": ["a"] * 90},
             Axis("symbols", "%"), **SHARES),
        Plot("matrix", "Matrix", Kind.MATRIX, Axis("date", "UTC"), Axis("market", "code"),
             {"x": [day for day, _ in cells], "y": [market for _, market in cells],
              "value": [number % 10 / 9 for number in range(len(cells))],
              "note": ["b"] * len(cells)},
             Axis("symbols", "%"), **SHARES),
        Plot("lines", "Lines", Kind.LINES, Axis("date", "UTC"), Axis("size", "MB"),
             {"date": dates, "series": ["one"] * 90, "value": [float(n) for n in range(90)]},
             palette=["s0"], names=["one"]),
        Plot("points", "One point each", Kind.LINES, Axis("date", "UTC"), Axis("size", "MB"),
             {"date": months, "series": months, "value": [float(n + 1) for n in range(13)]},
             palette=["s0"] * 13, names=months),
        Plot("stacked", "Stacked", Kind.STACKED, Axis("start", "UTC"), Axis("duration", "s"),
             {"x": [day for day in dates for _ in "ab"], "series": ["a", "b"] * 90,
              "value": [1.5, 2.5] * 90},
             palette=["s0", "s1"], names=["a", "b"]),
        Plot("bars", "Bars", Kind.BARS, Axis("rows", "count"), Axis("market", "code"),
             {"y": MARKETS, "value": [5, 4, 3, 2, 1], "note": ["c"] * 5}),
    ]  # fmt: skip


def bands(name: str, days: int = 60) -> Plot:
    """Return the small plot of a distribution over time."""
    values = [float(number) for number in range(days)]
    names = ("p5", "p25", "p50", "p75", "p95")
    columns = {each: [1e6 * (v + 10 * n) for v in values] for n, each in enumerate(names)}
    dates = [day.isoformat() for day in DAYS[:days]]
    return Plot(f"bands-{name}", name, Kind.BANDS, Axis("date", "UTC"), Axis("value", "price"),
                {"date": dates, **columns}, is_small=True)  # fmt: skip


def histogram(name: str) -> Plot:
    """Return the small plot of a distribution now and before."""
    edges = [-1 + number / 10 for number in range(21)]
    return Plot(f"histogram-{name}", "Now and before", Kind.HISTOGRAM, Axis(name, "no unit"),
                Axis("values", "%"),
                {"low": edges[:-1], "high": edges[1:], "now": [0.05] * 20,
                 "before": [number / 190 for number in range(20)]}, is_small=True)  # fmt: skip


def report(mark: Mark = Mark.CARE) -> Report:
    """Return a report of all of it."""
    table = Table("Markets with <b>marks</b>", ("market", "symbols", "state"),
                  [["NYSE", "1,234", Cell("late", Mark.CARE)],
                   ["NASDAQ", "5", Cell("RSI & more", is_code=True, title="a \"title\"")],
                   ["FX", "0", Cell("gone", Mark.BAD)], ["BIST", "7", Cell("there", Mark.GOOD)]],
                  frozenset({1}), "tvfeast status --json")  # fmt: skip
    columns = [f"a_column_of_its_own_{number}" for number in range(9)]
    wide = Table("Wider than the window", columns, [["1,234"] * 9], frozenset(range(1, 9)))
    features = [
        FeatureCard("mine", name, f"the meaning of {name} in `code`",
                    [("unit", "none"), ("services", "selection_v1")],
                    f"tvfeast explain SYMBOL mine:{name}", histogram(name))
        for name in ("RSI", "MACD.macd", "a_feature_with_a_very_long_name_indeed_20d")
    ]  # fmt: skip
    smalls = Small("mine", [bands("RSI"), bands("ADX", 1), bands("CCI20", 2)], "a note")
    tiles = [Tile("newest snapshot", "1 h 05 min old", "limit 4 d", Mark.GOOD, "tvfeast status"),
             Tile("fresh symbols", "57 of 60", "3 stale", Mark.CARE),
             Tile("largest", "1.6", "my_group_1d:a_feature_with_a_long_name, all with bars"),
             Tile("served", "nothing", "", Mark.BAD)]  # fmt: skip
    return Report(
        title="tvfeast",
        lakehouse="/data/</script><script>alert(1)</script>",
        at=datetime(2026, 4, 4, 21, 30, tzinfo=UTC),
        verdict=Verdict("Yes, with care.", mark, ["NYSE is late: run `tvfeast status`"], tiles),
        sections=[
            Section("tables", "Tables", "What a table is.", [table, wide, Note("fine", Mark.GOOD)]),
            Section("plots", "Plots", "What a plot is.", [*plots(), smalls], "tvfeast status"),
        ],
        catalogue=[GroupCard("mine", "features of mine", [("since", "2026-01-05")], features)],
    )
