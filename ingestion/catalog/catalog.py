"""A project's catalog: groups, services, universes, bar sources and datasets, from its files.

Groups and services are declared in the files of ``feature_repo/groups/``, bar sources in those of
``feature_repo/sources/``: the shipped ones beside the installed package, and a project's own. They
are found by their paths and run, never imported as a package. A project's file replaces a shipped
file of the same name. Universes are the files of ``feature_repo/universes/``, see
:mod:`ingestion.catalog.universes`.

Which of the groups run is the project's choice: its ``groups.toml`` lists them, or which ones
``more`` than without that file. Without it all run but those that are declared with ``by_choice``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ingestion.base.errors import CatalogError
from ingestion.base.wording import counted, did_you_mean, some_of
from ingestion.catalog.bar_source import BarSource
from ingestion.catalog.cross_section import CrossSection
from ingestion.catalog.daily_sources import DailySources, load_daily_sources
from ingestion.catalog.datasets import DATASETS
from ingestion.catalog.declarations import (
    CHOICE,
    SHIPPED,
    Declared,
    bind,
    declarations,
    groups_listed,
    made_after,
    refuse_clashes,
)
from ingestion.catalog.formula import Formula
from ingestion.catalog.model import Column, Dataset, Dtype, FeatureGroup
from ingestion.catalog.services import USES, Service
from ingestion.catalog.sources import FromBars, Scanner
from ingestion.catalog.universes import Universe, load_universes

_NOT_COMPARED = (Dtype.BOOL, Dtype.TIMESTAMP)
_MOST_NAMES = 12
"""Features that a message names."""


@dataclass(frozen=True)
class Catalog:
    """What a project declares."""

    groups: tuple[FeatureGroup, ...]
    """What runs, and Feast serves: what the scanner shows, what is computed, what is compared."""
    services: tuple[Service, ...] = ()
    """Those whose groups all run."""
    places: Mapping[str, Declared] = field(
        default_factory=dict, repr=False, hash=False, compare=False
    )
    """By group, and by bar source (``sources/NAME``), its declaration."""
    universes: tuple[Universe, ...] = ()
    others: tuple[FeatureGroup, ...] = ()
    """Groups that are declared and do not run; rows of an earlier choice are kept."""
    sources: tuple[BarSource, ...] = ()
    daily: DailySources = field(default_factory=DailySources)
    """Which exchanges' closed bars flows fetch from bar sources."""

    @classmethod
    def load(
        cls, repository: Path | None = None, formulas: Callable[[], Mapping[str, Formula]] = dict
    ) -> Catalog:
        """Load the shipped declarations and a project's own.

        Parameters
        ----------
        repository
            The project's ``feature_repo/``; any part of it may be missing.
        formulas
            Returns the declared formulas by name; called if a group is computed by some.

        Raises
        ------
        InputError
            If a file cannot be run, two declarations clash, or one refers to what is not there:
            file and line.

        Examples
        --------
        >>> from ingestion.formulas import SHIPPED as FORMULAS
        >>> [group.name for group in Catalog.load(formulas=lambda: FORMULAS).groups]
        ['tv_technicals_1d', 'local_1d']
        """
        declared = list(declarations(repository, "groups", FeatureGroup, Service))
        groups = [each for each in declared if isinstance(each.value, FeatureGroup)]
        services = [each for each in declared if isinstance(each.value, Service)]
        sources = list(declarations(repository, "sources", BarSource))
        for kind in (groups, services, sources):
            refuse_clashes(kind)
        known = formulas() if any(each.value.formulas for each in groups) else {}
        bound = [bind(each, known) for each in groups]
        bound.sort(key=lambda group: (made_after(group), group.name))
        all_of_it = cls(
            tuple(bound),
            tuple(each.value for each in services),
            {each.value.name: each for each in groups}
            | {f"sources/{each.value.name}": each for each in sources},
            load_universes(
                [folder / "universes" for folder in (SHIPPED, repository) if folder is not None],
                {column.scanner for group in bound for column in group.scanned if column.scanner},
            ),
            sources=tuple(each.value for each in sources),
            daily=load_daily_sources(repository, [each.value for each in sources]),
        )
        for each in services:
            all_of_it._check_service(each)
        for each in groups:
            all_of_it._check_twin(each)
        return all_of_it._chosen(repository)._with_cross_sections(groups)

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """Everything that the lakehouse may contain in daily partitions."""
        return (*self.groups, *self.others, *DATASETS)

    @property
    def scanned(self) -> tuple[FeatureGroup, ...]:
        """The groups whose rows are snapshots of the scanner."""
        return tuple(each for each in self.groups if isinstance(each.source, Scanner))

    @property
    def computed(self) -> tuple[FeatureGroup, ...]:
        """The groups that are computed from bars."""
        return tuple(each for each in self.groups if isinstance(each.source, FromBars))

    @property
    def cross_sections(self) -> tuple[FeatureGroup, ...]:
        """The groups that compare the members of a universe."""
        return tuple(each for each in self.groups if isinstance(each.source, CrossSection))

    def place(self, declared: FeatureGroup | BarSource) -> str:
        """Return where a group or a bar source is declared, for an error.

        Examples
        --------
        >>> from ingestion.formulas import SHIPPED as FORMULAS
        >>> catalog = Catalog.load(formulas=lambda: FORMULAS)
        >>> catalog.place(catalog.group("local_1d")).rpartition("/")[2]
        'local_1d.py, line 5'
        """
        prefix = "sources/" if isinstance(declared, BarSource) else ""
        where = self.places.get(f"{prefix}{declared.name}")
        return declared.name if where is None else where.place

    def group(self, name: str) -> FeatureGroup:
        """Return a group by its name.

        Raises
        ------
        CatalogError
            If there is none of that name.

        Examples
        --------
        >>> from ingestion.formulas import SHIPPED as FORMULAS
        >>> catalog = Catalog.load(formulas=lambda: FORMULAS)
        >>> catalog.group("local_1d").source.twin
        'tv_technicals_1d'
        """
        for group in self.groups:
            if group.name == name:
                return group
        names = ", ".join(group.name for group in self.groups)
        if any(group.name == name for group in self.others):
            raise CatalogError(
                f"{name} does not run in this project: list it in feature_repo/{CHOICE}, with "
                f"{names}"
            )
        near = did_you_mean(name, (group.name for group in (*self.groups, *self.others)))
        raise CatalogError(f"there is no group {name!r}{near}; there are {names}")

    def universe(self, name: str) -> Universe | None:
        """Return a universe by its name; None if none of that name is declared.

        Examples
        --------
        >>> from ingestion.formulas import SHIPPED as FORMULAS
        >>> Catalog.load(formulas=lambda: FORMULAS).universe("america") is None
        True
        """
        return next((each for each in self.universes if each.name == name), None)

    def feature(self, name: str) -> tuple[FeatureGroup, Column]:
        """Return a feature by its plain name, or by ``group:feature``, with its group.

        Raises
        ------
        CatalogError
            If there is none, or several groups have one of that name.

        Examples
        --------
        >>> from ingestion.formulas import SHIPPED as FORMULAS
        >>> catalog = Catalog.load(formulas=lambda: FORMULAS)
        >>> group, column = catalog.feature("local_1d:RSI")
        >>> group.name, column.bounds
        ('local_1d', '0 … 100')
        """
        found = self.features(name)
        if len(found) > 1:
            names = " or ".join(f"{group.name}:{name}" for group, _ in found)
            raise CatalogError(
                f"{counted(len(found), 'group has', 'groups have')} {name!r}: write {names}"
            )
        return found[0]

    def features(self, name: str) -> list[tuple[FeatureGroup, Column]]:
        """Return all features of a plain name, or the one of ``group:feature``.

        Raises
        ------
        CatalogError
            If there is none.

        Examples
        --------
        >>> from ingestion.formulas import SHIPPED as FORMULAS
        >>> catalog = Catalog.load(formulas=lambda: FORMULAS)
        >>> [group.name for group, _ in catalog.features("RSI")]
        ['tv_technicals_1d', 'local_1d']
        """
        prefix, colon, plain = name.rpartition(":")
        groups = [self.group(prefix)] if colon else list(self.groups)
        found = [
            (group, column) for group in groups for column in group.features if column.name == plain
        ]
        if not found and (unused := [each for each in self.others if _has(each, plain)]):
            raise CatalogError(
                f"no group that runs has {name!r}; {unused[0].name} has it: list that group in "
                f"feature_repo/{CHOICE}"
            )
        if not found:
            names = list(dict.fromkeys(each.name for group in groups for each in group.features))
            near = did_you_mean(plain, names, most=3)
            raise CatalogError(
                f"there is no feature {name!r}{near}; there are {some_of(names, _MOST_NAMES)}"
            )
        return found

    def default_service(self, use: str) -> Service:
        """Return the service that a command uses where none is named; see :data:`USES`.

        Raises
        ------
        CatalogError
            If no service is declared for it.

        Examples
        --------
        >>> from ingestion.formulas import SHIPPED as FORMULAS
        >>> catalog = Catalog.load(formulas=lambda: FORMULAS)
        >>> catalog.default_service("selection").rank_by
        'Recommend.All'
        """
        for service in self.services:
            if use in service.default_for:
                return service
        raise CatalogError(f"no service is declared as the default for {use}: name one")

    def source(self, name: str) -> BarSource:
        """Return a bar source by its name.

        Raises
        ------
        CatalogError
            If there is none of that name.

        Examples
        --------
        >>> from ingestion.catalog.bar_source import BarSource
        >>> Catalog((), sources=(BarSource("mine", "my bars", print),)).source("mine").priority
        50
        """
        for source in self.sources:
            if source.name == name:
                return source
        names = ", ".join(source.name for source in self.sources)
        known = (
            f"there are {names}" if names else "there is none: write one to feature_repo/sources/"
        )
        near = did_you_mean(name, (source.name for source in self.sources))
        raise CatalogError(f"there is no bar source {name!r}{near}; {known}")

    @property
    def pulse(self) -> FeatureGroup:
        """The group whose rows say which symbols are current: the first one of the selection.

        Raises
        ------
        CatalogError
            If no service is declared for selection.
        """
        return self.group(self.default_service("selection").groups[0])

    def columns_of(self, service: Service, group: FeatureGroup) -> tuple[Column, ...]:
        """Return the features of a group that a service reads.

        Examples
        --------
        >>> from ingestion.formulas import SHIPPED as FORMULAS
        >>> catalog = Catalog.load(formulas=lambda: FORMULAS)
        >>> service = catalog.default_service("selection")
        >>> [each.name for each in catalog.columns_of(service, catalog.group("local_1d"))]
        ['returns_1d', 'volatility_20d', 'momentum_60d']
        """
        wanted = service.features_of(group.name)
        return tuple(each for each in group.features if not wanted or each.name in wanted)

    def _with_cross_sections(self, declared: list[Declared]) -> Catalog:
        """Return the catalog with cross-sections that know the groups that they compare.

        What those that run read must run too.
        """
        sources = {group.name: group.source for group in (*self.groups, *self.others)}
        places = {each.value.name: each for each in declared}

        def bound(group: FeatureGroup) -> FeatureGroup:
            source = group.source
            if not isinstance(source, CrossSection) or source.of_group not in sources:
                return group
            of = sources[source.of_group]
            return replace(group, source=source.bound((of.frame, of.of_closed_bars)))

        for group in self.cross_sections:
            for name in getattr(group.source, "read", ()):
                self._check_read(places[group.name], name)
        groups, others = (tuple(map(bound, each)) for each in (self.groups, self.others))
        return replace(self, groups=groups, others=others)

    def _check_read(self, declared: Declared, name: str) -> None:
        """Refuse a column that a cross-section reads and that is not there, or is none to read."""
        group_name, _, column_name = name.partition(":")
        of, source = declared.value.name, declared.value.source
        try:
            group = self.group(group_name)
        except CatalogError as error:
            raise declared.error(f"{of}: {error}") from None
        if isinstance(group.source, CrossSection):
            raise declared.error(f"{of} compares {group_name}, which is a cross-section itself")
        column = next((each for each in group.features if each.name == column_name), None)
        if column is None:
            near = did_you_mean(column_name, (each.name for each in group.features))
            raise declared.error(f"{of}: {group_name} has no feature {column_name!r}{near}")
        is_text = name == source.currency
        if (column.dtype is Dtype.STRING) != is_text or column.dtype in _NOT_COMPARED:
            kind = "no text" if is_text else "no number"
            raise declared.error(f"{of}: {name} is a {column.dtype.value}, {kind}")
        unit = source.unit
        if unit and name in source.of and unit not in {each.name for each in group.columns}:
            raise declared.error(f"{of}: {group_name} has no column {unit!r} to count members by")

    def _chosen(self, repository: Path | None) -> Catalog:
        """Return the catalog with the groups that run apart from the others."""
        wanted, is_all = groups_listed(repository, [group.name for group in self.groups])
        runs = {
            group.name: group.name in wanted or not (is_all or group.by_choice)
            for group in self.groups
        }
        return replace(
            self,
            groups=tuple(each for each in self.groups if runs[each.name]),
            services=tuple(
                each for each in self.services if all(runs[name] for name in each.groups)
            ),
            others=tuple(each for each in self.groups if not runs[each.name]),
        )

    def _check_service(self, declared: Declared) -> None:
        service: Service = declared.value
        for part in service.parts:
            try:
                _ = self.feature(part) if ":" in part else self.group(part)
            except CatalogError as error:
                raise declared.error(f"the service {service.name}: {error}") from None
        for use in service.default_for:
            if (first := self.default_service(use)) != service:
                raise declared.error(
                    f"{service.name} and {first.name} are both the default for {use}: keep one"
                )
        if service.rank_by is not None:
            names = {
                column.name
                for name in service.groups
                for column in self.columns_of(service, self.group(name))
            }
            if service.rank_by not in names:
                raise declared.error(
                    f"{service.name} ranks by {service.rank_by!r}, which none of its parts has"
                )

    def _check_twin(self, declared: Declared) -> None:
        source = declared.value.source
        if isinstance(source, FromBars) and source.twin is not None:
            names = {group.name for group in self.scanned}
            if source.twin not in names:
                raise declared.error(
                    f"{declared.value.name} has the twin {source.twin!r}, which is no group of the "
                    f"scanner; there are {', '.join(sorted(names))}"
                )


def _has(group: FeatureGroup, feature: str) -> bool:
    return any(each.name == feature for each in group.features)


__all__ = ["DATASETS", "USES", "Catalog"]
