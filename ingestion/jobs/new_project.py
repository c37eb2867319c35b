"""A project of one's own: a Feast repository, a universe, a group and its formula, candidates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingestion.base.errors import InputError
from ingestion.base.settings import project_around
from ingestion.jobs.workspace import copy_repository

UNIVERSE = "mine"
GROUP = "my_gaps_1d"
FEATURE = "gap"
_FILES = {
    "portfolio_candidates.json": """\
[
  "NASDAQ:AAPL",
  "NASDAQ:MSFT",
  "NASDAQ:AMZN",
  "NYSE:JPM",
  "NYSE:KO",
  "NYSE:XOM",
  "BINANCE:BTCUSDT"
]
""",
    f"feature_repo/universes/{UNIVERSE}.toml": """\
# Whom a run is about: `tvfeast flow-data --universe mine`. An index or a scan is a universe too.

meaning = "the symbols of portfolio_candidates.json"
symbols = "portfolio_candidates.json"
""",
    f"feature_repo/formulas/{FEATURE}.py": '''\
"""A formula: rows are bars, columns are symbols, and what is not defined is NaN."""

from ingestion.formulas import Bars, Matrix, formula, ratio, shift


@formula("gap", "open ÷ previous close − 1", look_back=1, low=-1)
def gap(bars: Bars) -> Matrix:
    """Return the open over the close of the bar before - 1, as a fraction."""
    return ratio(bars.open, shift(bars.close, 1)) - 1
''',
    f"feature_repo/groups/{GROUP}.py": '''\
"""A feature group: one file. It is computed from bars, by formulas that it names."""

from ingestion.catalog import FeatureGroup, FromBars

GROUP = FeatureGroup(
    name="my_gaps_1d",
    meaning="gaps between sessions, and how strong the symbol is beside it",
    source=FromBars(),
    ttl="12d",  # the longest pause of a large exchange is 11 days
    features=["gap", "RSI"],
)
''',
    "data/logs/.gitkeep": "",
    ".gitignore": "/data/*\n!/data/logs/\n/data/logs/*\n!/data/logs/.gitkeep\n__pycache__/\n",
    "README.md": """\
# A tvfeast project

Whoever runs `tvfeast` in this folder, or below it, works on this project.

| | |
|---|---|
| `portfolio_candidates.json` | the symbols that it is about |
| `feature_repo/universes/mine.toml` | the same as a universe; one file per universe |
| `feature_repo/groups/my_gaps_1d.py` | a feature group of one's own; one file per group |
| `feature_repo/formulas/gap.py` | its formula |
| `feature_repo/feature_store.yaml` | where Feast's registry and the online store are |
| `data/` | what was fetched and computed; not in git |

    tvfeast flow-data --universe mine    # every evening
    tvfeast status
    tvfeast select --top 5

`tvfeast catalog check` says what is wrong with a declaration, by file and line; `tvfeast --help`
lists the commands.
""",
}


@dataclass(frozen=True)
class NewProject:
    """A project that was made."""

    folder: Path
    files: tuple[str, ...]
    """Below the folder."""


def make_project(folder: Path) -> NewProject:
    """Make a project of one's own.

    Raises
    ------
    InputError
        If one of its files is there already, or the folder is inside another project: nothing is
        overwritten, and nothing written.
    """
    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder for the new project")
    if around := project_around(folder.parent):
        raise InputError(
            f"{folder} is inside the project {around}, and its commands would no longer be about "
            f"that one: name a folder outside it, as {around.parent / folder.name}; where you "
            "want one project inside another, make it outside and move it"
        )
    taken = [name for name in ("feature_repo", *_FILES) if (folder / name).exists()]
    if taken:
        raise InputError(
            f"{folder} has {taken[0]} already, which is not overwritten: name another folder"
        )
    for name, content in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    copied = copy_repository(folder / "feature_repo")
    return NewProject(folder, tuple(sorted([*_FILES, *copied])))
