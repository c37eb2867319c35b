"""The files of a project that declare something: found, run, and bound to what they name."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ingestion.base.errors import CatalogError
from ingestion.base.loading import declared_in, files_in, load_file, place
from ingestion.base.wording import did_you_mean, some_of
from ingestion.catalog.cross_section import CrossSection
from ingestion.catalog.datasets import DATASETS
from ingestion.catalog.formula import Formula
from ingestion.catalog.model import Column, FeatureGroup
from ingestion.catalog.sources import FromBars

SHIPPED = Path(__file__).resolve().parents[2] / "feature_repo"
"""The repository beside the installed package, whose groups every project has."""
CHOICE = "groups.toml"
"""The project's list of the groups that run, beside its ``feature_store.yaml``."""


class Declared(NamedTuple):
    """A group, a service or a bar source, and where it is declared."""

    value: Any
    path: Path
    name: str
    """What the file calls it."""

    @property
    def place(self) -> str:
        """File and line; to find the line takes longer than to run the file."""
        return place(self.path, self.name)

    def error(self, text: str) -> CatalogError:
        """Return what is wrong with it, with its place before.

        Examples
        --------
        >>> mine = next(declarations(None, "groups", FeatureGroup))
        >>> text = str(mine.error("it has no features"))
        >>> ", line " in text, text.rpartition(": ")[2]
        (True, 'it has no features')
        """
        return CatalogError(f"{self.place}: {text}")


def declarations(
    repository: Path | None, folder_name: str, *kinds: type[Any]
) -> Iterator[Declared]:
    """Yield what the files of a folder declare; one object that two files show counts once.

    Examples
    --------
    >>> found = declarations(None, "groups", FeatureGroup)
    >>> "local_1d" in {each.value.name for each in found}
    True
    """
    files: dict[str, Path] = {}
    for folder in (SHIPPED, repository):
        if folder is not None:
            files |= {path.name: path for path in files_in(folder / folder_name)}
    seen: set[int] = set()
    for path in files.values():
        module = load_file(path)
        for name, each in declared_in(module, *kinds):
            if id(each) not in seen:
                seen.add(id(each))
                yield Declared(each, Path(str(module.__file__)), name)


def refuse_clashes(declared: list[Declared]) -> None:
    """Refuse two declarations of one name, and a group that is called as a dataset is.

    Examples
    --------
    >>> refuse_clashes(list(declarations(None, "groups", FeatureGroup)))
    """
    by_name: dict[str, Declared] = {}
    for each in declared:
        other = by_name.setdefault(each.value.name, each)
        if other is not each:
            raise each.error(
                f"{each.value.name!r} is declared at {other.place} already: rename one of them"
            )
        is_group = isinstance(each.value, FeatureGroup)
        if is_group and any(each.value.name == dataset.name for dataset in DATASETS):
            raise each.error(f"{each.value.name!r} is a dataset of the lakehouse: rename the group")


def bind(declared: Declared, formulas: Mapping[str, Formula]) -> FeatureGroup:
    """Return a group whose features are columns, where it names formulas.

    Examples
    --------
    >>> from ingestion.formulas import SHIPPED as FORMULAS
    >>> found = declarations(None, "groups", FeatureGroup)
    >>> local = next(each for each in found if each.value.name == "local_1d")
    >>> bind(local, FORMULAS).features[0].name
    'returns_1d'
    """
    group: FeatureGroup = declared.value
    if not group.formulas:
        if isinstance(group.source, FromBars):
            raise declared.error(f"{group.name} is computed from bars: name formulas as features")
        return group
    if not isinstance(group.source, FromBars):
        raise declared.error(f"{group.name} names formulas, but its source is not FromBars")
    for name in group.formulas:
        if name not in formulas:
            raise declared.error(
                f"{group.name} names the formula {name!r}, which is not declared"
                f"{did_you_mean(name, formulas)}; there are {some_of(list(formulas), 12)}"
            )
    return group.bound({name: _column(formulas[name]) for name in group.formulas})


def made_after(group: FeatureGroup) -> int:
    """Return after how many kinds of other groups a group's rows are made.

    Examples
    --------
    >>> found = declarations(None, "groups", FeatureGroup)
    >>> {each.value.name: made_after(each.value) for each in found}["local_1d"]
    1
    """
    if isinstance(group.source, CrossSection):
        return 2
    return 1 if isinstance(group.source, FromBars) else 0


def _column(formula: Formula) -> Column:
    low, high = formula.low, formula.high
    return Column(
        formula.name,
        meaning=formula.meaning,
        unit=formula.unit,
        low=low,
        high=high,
        rules="" if formula.rules is None else str(formula.rules),
    )


def groups_listed(repository: Path | None, declared: list[str]) -> tuple[list[str], bool]:
    """Return the groups that a project lists, and whether no other ones run.

    Examples
    --------
    >>> groups_listed(None, ["tv_technicals_1d", "local_1d"])
    ([], False)
    """
    path = None if repository is None else repository / CHOICE
    if path is None or not path.is_file():
        return [], False
    try:
        text = path.read_text(encoding="utf-8")
        told = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path} cannot be read: {error}") from None
    names = told.get("groups", told.get("more"))
    if told.keys() not in ({"groups"}, {"more"}) or not isinstance(names, list) or not names:
        raise CatalogError(
            f'{path}: write one line, groups = ["{declared[0]}", …] for all that run, or '
            f'more = ["{declared[-1]}", …] for those that run beside the default ones'
        )
    for name in names:
        if name not in declared:
            lines = enumerate(text.splitlines(), start=1)
            line = next((number for number, each in lines if str(name) in each), 1)
            near = did_you_mean(str(name), declared)
            raise CatalogError(
                f"{path}, line {line}: it lists {name!r}, which no file declares{near}; there are "
                f"{', '.join(declared)}"
            )
        if names.count(name) > 1:
            raise CatalogError(f"{path} lists {name!r} twice: take one out")
    return names, "groups" in told
