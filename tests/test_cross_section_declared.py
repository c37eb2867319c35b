"""Groups that compare members: what follows from a declaration, and what is refused, with where."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from ingestion.base.errors import CatalogError, InputError
from ingestion.catalog import Catalog, CrossSection, FeatureGroup
from ingestion.formulas import SHIPPED

HEAD = "from ingestion.catalog import *\n"
GROUP = HEAD + (
    "GROUP = FeatureGroup(name='ranked', meaning='m', ttl='4d', features=[{features}],\n"
    "    source=CrossSection(of={of!r}, by='rank', universe='us_large'{more}))\n"
)


def load(folder: Path, of: str = "local_1d:RSI", more: str = "", features: str = "") -> Catalog:
    groups = folder / "feature_repo" / "groups"
    groups.mkdir(parents=True, exist_ok=True)
    (groups / "ranked.py").write_text(GROUP.format(of=of, more=more, features=features))
    return Catalog.load(folder / "feature_repo", lambda: SHIPPED)


def group(**arguments: object) -> FeatureGroup:
    source = CrossSection(
        **{"of": "local_1d:RSI", "by": "rank", "universe": "us_large"} | arguments  # type: ignore[arg-type]
    )
    return FeatureGroup(name="ranked", meaning="m", ttl="4d", source=source)


def test_columns_follow_from_features_and_what_is_computed_of_them():
    made = group(of=["local_1d:RSI", "local_1d:ADX"], by=["percentile", "zscore"])
    names = ["RSI_percentile", "RSI_zscore", "ADX_percentile", "ADX_zscore"]
    assert [column.name for column in made.features] == names
    assert made.features[0].bounds == "0 … 1"
    assert [column.name for column in made.columns] == [
        *("timestamp", "symbol", *names, "event_timestamp", "created_timestamp"),
        *("bar_timestamp", "universe_size", "universe_hash"),
    ]
    assert [column.name for column in made.served[-2:]] == ["universe_size", "universe_hash"]


def test_a_group_knows_what_it_compares(tmp_path: Path):
    catalog = load(tmp_path)
    (ranked,) = catalog.cross_sections
    assert ranked.source.of_closed_bars
    assert [each.name for each in catalog.groups][-1] == "ranked"  # made after what it compares
    of_snapshots = load(tmp_path, of="tv_technicals_1d:RSI").group("ranked")
    assert not of_snapshots.source.of_closed_bars


def test_a_column_may_be_described_otherwise_or_retired(tmp_path: Path):
    more = "Column('RSI_rank', meaning='mine'), Column('RSI_zscore', retired=True)"
    first, second = load(tmp_path, features=more).group("ranked").features
    assert (first.name, first.meaning) == ("RSI_rank", "mine")
    assert (second.name, second.retired) == ("RSI_zscore", True)
    with pytest.raises(InputError, match=r"ranked\.py.*other follows from no feature"):
        load(tmp_path, features="Column('other')")


def test_a_time_of_day_may_be_a_time():
    assert CrossSection(of="a:b", by="rank", universe="u", at=time(21, 30)).at == "21:30"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"of": "RSI"}, "'RSI' does not name a feature with its group"),
        ({"of": []}, "say of which features"),
        ({"of": ["one_1d:RSI", "two_1d:RSI"]}, "of several groups"),
        ({"of": ["one_1d:RSI", "one_1d:RSI"]}, "'one_1d:RSI' is there twice"),
        ({"by": "median"}, "'median' is none of rank, percentile"),
        ({"by": []}, "by what"),
        ({"by": "neutralised"}, "go together"),
        ({"against": ["sector"]}, "go together"),
        ({"by": "neutralised", "against": "colour"}, "'colour' is none of sector, market, size"),
        ({"by": "neutralised", "against": "size"}, "against='size' and size="),
        ({"at": "25:00"}, "neither 'close' nor a UTC time"),
        ({"at": "21:30Z"}, "neither 'close' nor a UTC time"),
        ({"tails": 0.5}, "not between 0 and 0.5"),
        ({"tails": float("nan")}, "not between 0 and 0.5"),
        ({"frame": "7h"}, "no frame"),
        ({"currency": "a:b"}, "columns of one group"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, object], said: str):
    with pytest.raises(CatalogError, match=said):
        group(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"of": "local_1d:RSJ"}, r"local_1d has no feature 'RSJ' .did you mean RSI"),
        ({"of": "nowhere:RSI"}, r"there is no group 'nowhere'"),
        ({"of": "local_trend_1d:ATR"}, r"local_trend_1d does not run in this project"),
        ({"of": "ranked:RSI_rank"}, r"which is a cross-section itself"),
        ({"more": ", unit='coin'"}, r"local_1d has no column 'coin' to count members by"),
    ],
)
def test_what_it_reads_must_be_there_and_run(tmp_path: Path, arguments: dict[str, str], said: str):
    with pytest.raises(InputError, match=rf"ranked\.py, line 2: ranked.*{said}"):
        load(tmp_path, **arguments)


def test_texts_are_not_compared_and_a_currency_is_one(tmp_path: Path):
    load(tmp_path)
    own = tmp_path / "feature_repo" / "groups" / "own.py"
    own.write_text(
        f"{HEAD}G = FeatureGroup(name='own', meaning='m', ttl='4d', source=Files(), "
        "features=[Column('score'), Column('side', 'string'), Column('held', 'bool')])\n"
    )
    for name, kind in (("side", "string"), ("held", "bool")):
        with pytest.raises(InputError, match=f"own:{name} is a {kind}, no number"):
            load(tmp_path, of=f"own:{name}")
    sized = ", size='own:score', currency='own:score', against='size'"
    text = GROUP.replace("by='rank'", "by='neutralised'")
    (tmp_path / "feature_repo" / "groups" / "ranked.py").write_text(
        text.format(of="own:score", more=sized, features="")
    )
    with pytest.raises(InputError, match="own:score is a double, no text"):
        Catalog.load(tmp_path / "feature_repo", lambda: SHIPPED)


def test_the_shipped_example_runs_where_it_is_chosen(tmp_path: Path):
    repository = tmp_path / "feature_repo"
    repository.mkdir()
    (repository / "groups.toml").write_text('more = ["ranks_1d"]\n')
    catalog = Catalog.load(repository, lambda: SHIPPED)
    (ranks,) = catalog.cross_sections
    assert "momentum_60d_percentile" in [column.name for column in ranks.features]
