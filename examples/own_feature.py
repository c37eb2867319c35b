"""A feature of your own: written, proven not to look ahead, ranked and served.

Run it anywhere: ``python examples/own_feature.py``. It makes a project in a new folder, on the
sample's bars of July 2019 to April 2021.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

import ingestion

SAMPLE = Path(ingestion.__file__).parents[1] / "data" / "sample"
FILES = {
    # How far the close is above the lowest low of 20 bars, as a share of their range.
    "feature_repo/formulas/place_in_range.py": '''
        """The place of the close in the range of the last bars."""

        from ingestion.formulas import Bars, Matrix, formula, highest, lowest, ratio


        @formula("place_in_range", "(close - lowest low) ÷ (highest high - lowest low)",
                 look_back=19, low=0, high=1)
        def place_in_range(bars: Bars) -> Matrix:
            """Return 1 where a bar closed at the highest high of 20 bars, 0 at their lowest low."""
            low = lowest(bars.low, 20)
            return ratio(bars.close - low, highest(bars.high, 20) - low)
    ''',
    "feature_repo/groups/my_ranges_1d.py": '''
        """Where a symbol stands in its own range."""

        from ingestion.catalog import FeatureGroup, FromBars

        GROUP = FeatureGroup(
            name="my_ranges_1d",
            meaning="the place of the close in the range of 20 bars",
            source=FromBars(),
            ttl="12d",  # the longest pause of a large exchange is 11 days
            features=["place_in_range"],
        )
    ''',
}


def main() -> None:
    """Make the project, and show each command with what it prints."""
    os.environ["TVFEAST_NOW"] = "2021-04-16T22:00Z"  # what was known on that Friday evening
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "mine")
        tvfeast("init", str(project), quiet=True)
        os.chdir(project)
        for name, text in FILES.items():
            Path(name).write_text(dedent(text).lstrip())
        tvfeast("import-bars", str(SAMPLE / "bars.parquet"), quiet=True)
        tvfeast("backfill", "--from", "2021-01-01", "--to", "2021-04-16")
        tvfeast("verify", "--lookahead")
        tvfeast("panel", "--from", "2021-03-01", "--to", "2021-04-09", "--every", "week",
                "--feature", "place_in_range", "--out", "places.parquet")  # fmt: skip
        tvfeast("prove", "places.parquet")
        tvfeast("materialize")
        tvfeast("select", "--by", "place_in_range", "--top", "5", "--feature", "local_1d:RSI")


def tvfeast(*words: str, quiet: bool = False) -> None:
    """Run a command, and stop where it fails."""
    print("$ tvfeast", *words, flush=True)
    command = [sys.executable, "-m", "ingestion.cli", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL if quiet else None)


if __name__ == "__main__":
    main()
