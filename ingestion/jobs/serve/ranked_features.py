"""Which features a ranking reads, and what each is called in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from ingestion.base.errors import InputError
from ingestion.base.wording import counted
from ingestion.catalog import Catalog, Dtype, Service
from ingestion.jobs.serve.registered import Reference, references

SCORE = "score"
"""What a model's answers are called in it."""


class Wanted(NamedTuple):
    """The features that are read, and what each is called in the ranking."""

    catalog: Catalog
    by_label: dict[str, Reference]
    """By plain name where it is unique among them, else by ``group:feature``."""

    @classmethod
    def of(cls, catalog: Catalog, service: Service, named: Iterable[str] = ()) -> Wanted:
        """Return a service's features, in its order, then those of other groups that are named.

        Raises
        ------
        InputError
            If there is no feature of a name, or several groups have one.
        """
        own = references(catalog, service)
        count = Counter(each.feature for each in own)
        labels = {each.feature if count[each.feature] == 1 else str(each): each for each in own}
        for name in named:
            if not any(name in (each.feature, str(each)) for each in labels.values()):
                group, column = catalog.feature(name)
                each = Reference(group.name, column.name)
                labels[column.name if column.name not in count else str(each)] = each
        return cls(catalog, labels)

    @property
    def references(self) -> list[Reference]:
        """The features."""
        return list(self.by_label.values())

    @property
    def labels(self) -> tuple[str, ...]:
        """What they are called."""
        return tuple(self.by_label)

    def label(self, name: str) -> str:
        """Return what a number is called here that was asked for by plain or full name.

        Raises
        ------
        InputError
            If several of them have the name, or it is no number.
        """
        for label, each in self.by_label.items():
            if name in (label, str(each)):
                _, column = self.catalog.feature(str(each))
                if column.dtype not in (Dtype.DOUBLE, Dtype.INT64, Dtype.BOOL):
                    raise InputError(f"{name} is a {column.dtype.value}: name a number")
                return label
        both = [str(each) for each in self.references if each.feature == name]
        raise InputError(
            f"{counted(len(both), 'group has', 'groups have')} {name!r}: write {' or '.join(both)}"
        )

    def shown(self, by: str, service: Service, more: Iterable[str] = ()) -> tuple[str, ...]:
        """Return what a table shows: what is ranked by, what the service has to say, and more."""
        names = (by, *([service.rank_by] if service.rank_by else []), *service.shown)
        asked = set(more)
        further = [
            label
            for label, each in self.by_label.items()
            if not asked.isdisjoint((label, each.feature, str(each)))
        ]
        known = (name for name in names if name in self.by_label)
        return tuple(dict.fromkeys([*known, *further]))

    def groups(self, labels: Iterable[str], ranked: str) -> tuple[str, ...]:
        """Return the groups of some features, without the one whose rows are ranked."""
        views = dict.fromkeys(self.by_label[label].view for label in labels)
        return tuple(name for name in views if name != ranked)
