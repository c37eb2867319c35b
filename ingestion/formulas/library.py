"""Which formulas there are: those shipped with the project, and those of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType

from ingestion.base.errors import InputError
from ingestion.base.loading import declared_in, load_folder
from ingestion.formulas import oscillators, performance, ratings, returns, trend
from ingestion.formulas.declaration import BarFormula


def by_name(formulas: Iterable[BarFormula]) -> Mapping[str, BarFormula]:
    """Return formulas by name.

    Raises
    ------
    InputError
        If two have one name: where both are declared.

    Examples
    --------
    >>> list(by_name([returns.daily_return, oscillators.rsi]))
    ['returns_1d', 'RSI']
    """
    named: dict[str, BarFormula] = {}
    for each in formulas:
        if (other := named.setdefault(each.name, each)) is not each:
            raise InputError(
                f"{each.place}: a formula {each.name} is declared in {other.place} already: give "
                "one of them another name"
            )
    return MappingProxyType(named)


def _declared_by(*modules: ModuleType) -> Iterator[BarFormula]:
    """Yield what each module declares itself; it may have imported others."""
    for module in modules:
        for _, each in declared_in(module, BarFormula):
            if each.function.__module__ == module.__name__:
                yield each


LOCAL = by_name(_declared_by(returns, ratings, oscillators, performance))
"""Those of ``compute_local_features``, by name, in the order of its columns."""

SHIPPED = by_name([*LOCAL.values(), *_declared_by(trend)])
"""All shipped formulas by name."""


def load_formulas(folder: Path) -> Mapping[str, BarFormula]:
    r"""Load a project's own formulas: what the files of its ``feature_repo/formulas/`` declare.

    A file may import shipped formulas and read them; they are not declared again by that.

    Parameters
    ----------
    folder
        Its ``*.py`` files are run by their path; if it does not exist there are no formulas.

    Returns
    -------
    Mapping
        The project's own formulas by name; the shipped ones are :data:`SHIPPED`.

    Raises
    ------
    InputError
        If a file cannot be run, or a name is that of another formula, of the project or shipped:
        both files and lines.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "ranges.py").write_text(
    ...         "from ingestion.formulas import formula\n"
    ...         "@formula('range', 'high − low', unit='price', look_back=0)\n"
    ...         "def day_range(bars):\n"
    ...         "    return bars.high - bars.low\n",
    ...         encoding="utf-8",
    ...     )
    ...     own = load_formulas(Path(folder))
    >>> own["range"].meaning, own["range"].place.rpartition(", ")[2]
    ('high − low', 'line 2')
    """
    shipped = set(map(id, SHIPPED.values()))
    own = [
        each
        for module in load_folder(folder)
        for _, each in declared_in(module, BarFormula)
        if id(each) not in shipped
    ]
    known = by_name([*SHIPPED.values(), *own])
    return MappingProxyType({name: each for name, each in known.items() if name not in SHIPPED})
