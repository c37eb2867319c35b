"""What a project declares, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ingestion.base.errors import CandidatesError
from ingestion.base.loading import declared_in, load_folder
from ingestion.catalog import BarSource, Catalog, CrossSection, FeatureGroup, Files, Scanner
from ingestion.catalog.daily_sources import FILE as DAILY_FILE
from ingestion.catalog.formula import Formula
from ingestion.catalog.sources import DAILY
from ingestion.markets.candidates import read_candidates
from ingestion.markets.exchanges import INDEX_CODES, KNOWN_EXCHANGES
from ingestion.project import Project

IGNORED = ("groups/**", "formulas/**", "sources/**")
"""Lines of ``.feastignore``: Feast would load those files a second time, as modules of its own."""


@dataclass(frozen=True)
class GroupListing:
    """One group."""

    name: str
    meaning: str
    source: str
    ttl: timedelta
    features: tuple[str, ...]
    storage: str
    asked: str
    """How often the scanner is asked, and while which market hours; empty for other groups."""
    rules: Mapping[str, str]
    """By feature, the rule set of its source by which it is computed, where there are several."""


@dataclass(frozen=True)
class ServiceListing:
    """One service."""

    name: str
    meaning: str
    parts: tuple[str, ...]
    default_for: tuple[str, ...]


@dataclass(frozen=True)
class UniverseListing:
    """One universe."""

    name: str
    meaning: str
    source: str
    max_age: timedelta


@dataclass(frozen=True)
class SourceListing:
    """One bar source."""

    name: str
    meaning: str
    place: str
    """File and line."""
    adjusted: bool
    priority: int
    exchanges: tuple[str, ...]
    """All if empty."""
    daily: tuple[str, ...]
    """Exchanges whose closed bars each flow fetches from it."""


@dataclass(frozen=True)
class CatalogListing:
    """All that there is."""

    groups: tuple[GroupListing, ...]
    services: tuple[ServiceListing, ...]
    universes: tuple[UniverseListing, ...]
    sources: tuple[SourceListing, ...]
    datasets: tuple[str, ...]
    """The lakehouse's other datasets."""
    others: tuple[GroupListing, ...] = ()
    """Groups that are declared and do not run: ``groups.toml`` may list them."""


@dataclass(frozen=True)
class CheckedCatalog:
    """What a check found."""

    groups: int
    services: int
    universes: int
    sources: int
    problems: tuple[str, ...]
    """What is wrong, each with what to do."""


def list_catalog(catalog: Catalog, formulas: Mapping[str, Formula] | None = None) -> CatalogListing:
    """List what a catalog has.

    Parameters
    ----------
    formulas
        By name; with them a group of bars says which of its features read all bars of a symbol.

    Examples
    --------
    >>> from ingestion.project import Project
    >>> [group.source for group in list_catalog(Project.from_environment().catalog).groups]
    ['scanner', 'bars']
    """
    whole = {name for name, each in (formulas or {}).items() if each.look_back == "all"}
    return CatalogListing(
        groups=tuple(_listing(group, whole) for group in catalog.groups),
        services=tuple(
            ServiceListing(each.name, each.meaning, tuple(each.parts), tuple(each.default_for))
            for each in catalog.services
        ),
        universes=tuple(
            UniverseListing(each.name, each.meaning, each.summary, each.max_age)
            for each in catalog.universes
        ),
        sources=tuple(
            SourceListing(
                each.name,
                each.meaning,
                catalog.place(each),
                each.adjusted,
                each.priority,
                tuple(each.exchanges),
                catalog.daily.exchanges(each.name),
            )
            for each in catalog.sources
        ),
        datasets=tuple(
            each.name for each in catalog.datasets if not isinstance(each, FeatureGroup)
        ),
        others=tuple(_listing(group, whole) for group in catalog.others),
    )


def _listing(group: FeatureGroup, whole: Set[str]) -> GroupListing:
    return GroupListing(
        name=group.name,
        meaning=group.meaning,
        source=_source(group, whole),
        ttl=group.ttl,
        features=tuple(column.name for column in group.features if not column.retired),
        storage=group.storage,
        asked=group.asked if isinstance(group.source, Scanner) else "",
        rules={column.name: column.rules for column in group.features if column.rules},
    )


def check_catalog(project: Project) -> CheckedCatalog:
    """Check a project's declarations.

    Raises
    ------
    InputError
        If they cannot be loaded at all: file, line and what to do.
    """
    catalog = project.catalog
    return CheckedCatalog(
        len(catalog.groups),
        len(catalog.services),
        len(catalog.universes),
        len(catalog.sources),
        tuple(_complaints(project)),
    )


def _complaints(project: Project) -> Iterator[str]:
    yield from _not_ignored(project.feast_repository)
    yield from _wrong_sources(project)
    yield from _wrong_look_backs(project)
    yield from _unreadable_symbols(project.catalog)
    if project.lakehouse.exists(""):
        from ingestion.jobs.compute.definitions import changed_formulas

        yield from map(str, changed_formulas(project))


def _not_ignored(repository: Path) -> Iterator[str]:
    path = repository / ".feastignore"
    lines = set(path.read_text(encoding="utf-8").split()) if path.is_file() else set()
    lacking = [each for each in IGNORED if each not in lines]
    used = [each for each in lacking if (repository / each.partition("/")[0]).is_dir()]
    if used:
        yield (
            f"{path} does not list {', '.join(used)}: `feast apply` would load those files a "
            "second time; add the lines"
        )


def _wrong_sources(project: Project) -> Iterator[str]:
    """Find files of bar sources that declare none, and exchanges that are not known."""
    for module in load_folder(project.feast_repository / "sources"):
        if not any(declared_in(module, BarSource)):
            yield f"{module.__file__} declares no bar source: assign a BarSource to a name in it"
    for code in project.catalog.daily.sources:
        if code not in KNOWN_EXCHANGES | INDEX_CODES:
            yield (
                f"{project.feast_repository / DAILY_FILE} has the exchange {code!r}, which is not "
                "known: write TradingView's code of it"
            )
    for source in project.catalog.sources:
        for code in source.exchanges:
            if code not in KNOWN_EXCHANGES | INDEX_CODES:
                yield (
                    f"{project.catalog.place(source)}: {source.name} has the exchange {code!r}, "
                    "which is not known: write TradingView's code of it"
                )


def _wrong_look_backs(project: Project) -> Iterator[str]:
    """Compare each of the project's own formulas on a window with the formula on the whole."""
    from ingestion.formulas import SHIPPED
    from ingestion.formulas.look_back import check_look_back

    for name, formula in project.formulas.items():
        if name not in SHIPPED:
            yield from check_look_back(formula)


def _unreadable_symbols(catalog: Catalog) -> Iterator[str]:
    """Read the files of symbols that universes name."""
    for universe in catalog.universes:
        if isinstance(universe.source, Path):
            try:
                read_candidates(universe.source)
            except CandidatesError as error:
                yield f"the universe {universe.name}: {error}"


def _source(group: FeatureGroup, whole: Set[str]) -> str:
    if isinstance(group.source, Scanner):
        frame = "" if group.source.frame == DAILY else f", bars of {group.source.frame}"
        market = f", {group.source.market}" if group.source.market else ""
        return f"scanner{market}{frame}"
    if isinstance(group.source, Files):
        return "files"
    if isinstance(group.source, CrossSection):
        return f"{group.source.of_group} among {group.source.universe}"
    reading_all = [each.name for each in group.features if each.name in whole and not each.retired]
    return f"bars; all of them for {', '.join(reading_all)}" if reading_all else "bars"
