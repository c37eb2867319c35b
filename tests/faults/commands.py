"""Every command that reads or writes what is stored."""

from __future__ import annotations

from tests.faults.world import World

READERS = (
    *(("select",), ("select", "--as-of", "2021-04-14T22:00Z"), ("explain", "NASDAQ:AAPL", "RSI")),
    *(("status",), ("verify",), ("verify", "--online"), ("verify", "--lookahead"), ("data-docs",)),
)
WRITERS = (
    *(("local-features",), ("materialize",), ("rebuild",), ("compact",), ("validate",)),
    *(("parity",), ("backfill", "--from", "2021-04-01", "--to", "2021-04-15")),
)
SCANS = ("data-ingest", "meta-ingest", "feature-ingest")
SPAN = ("--from", "2021-04-05", "--to", "2021-04-12")


def commands(world: World) -> list[tuple[object, ...]]:
    train_on_target = (*world.train, "--target", "fwd_return_1d", *SPAN)
    scans = [(job, *world.scan) for job in SCANS]
    return [*READERS, world.train_on_labels, train_on_target, *WRITERS, *scans]
