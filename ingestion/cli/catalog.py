"""What a project declares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ingestion.base.errors import GateRefused
from ingestion.base.wording import counted, some_of
from ingestion.cli.group import Jobs, cli, examples, this_project
from ingestion.cli.options import json_option
from ingestion.cli.output import show
from ingestion.cli.tables import Printing, Rows, paragraph, rows_options, table

if TYPE_CHECKING:
    from ingestion.jobs.audit.catalog_check import CatalogListing, CheckedCatalog, GroupListing

_MOST_EXCHANGES = 5
"""Of a bar source; all are in the JSON."""


@cli.group(
    "catalog",
    cls=Jobs,
    invoke_without_command=True,
    **examples(
        "catalog",
        "catalog check   # what is wrong with the declarations, by file and line",
        "catalog --json",
    ),
)
@rows_options
@click.pass_context
def catalog_command(context: click.Context, printing: Printing) -> None:
    """List the groups, services, universes and bar sources.

    The groups that can be chosen in groups.toml are listed too.
    """
    from ingestion.jobs.audit.catalog_check import list_catalog

    if context.invoked_subcommand is None:
        project = this_project()
        printing.show(list_catalog(project.catalog, project.formulas), catalog_text, catalog_rows)


@catalog_command.command(
    "check",
    **examples(
        "catalog check",
    ),
)
@json_option
def check_command(as_json: bool) -> None:
    """Say what is wrong with the project's declarations.

    Exit 3 if anything is.
    """
    from ingestion.jobs.audit.catalog_check import check_catalog

    checked = check_catalog(this_project())
    show(as_json, checked, check_text)
    if checked.problems:
        found = counted(len(checked.problems), "problem")
        raise GateRefused(f"{found} in what the project declares")


def catalog_rows(listing: CatalogListing) -> Rows:
    """Return all groups, also those that can be chosen."""
    names = ("group", "runs", "rows_from", "asked", "features", "ttl_s", "meaning")
    found = [
        (group.name, runs, group.source, group.asked, len(group.features), group.ttl, group.meaning)
        for groups, runs in ((listing.groups, True), (listing.others, False))
        for group in groups
    ]
    return Rows(names, [dict(zip(names, each, strict=True)) for each in found])


def catalog_text(listing: CatalogListing) -> str:
    """Return the groups, the services, the universes and the bar sources as tables."""
    services = [
        [service.name, ", ".join(service.default_for), ", ".join(service.parts)]
        for service in listing.services
    ]
    universes = [[each.name, each.source, each.meaning] for each in listing.universes]
    tables = [
        _groups_table(listing.groups, "group"),
        table(["service", "default for", "parts"], services, {0, 1, 2}),
    ]
    if universes:
        tables.append(table(["universe", "symbols from", "meaning"], universes, {0, 1, 2}))
    if listing.sources:
        sources = [
            [
                source.name,
                str(source.priority),
                "split-adjusted" if source.adjusted else "as traded",
                some_of(source.exchanges, _MOST_EXCHANGES) or "all",
                ", ".join(source.daily) or "–",
                source.meaning,
            ]
            for source in listing.sources
        ]
        head = ["bar source", "priority", "prices", "exchanges", "in each flow", "meaning"]
        tables.append(table(head, sources, {0, 2, 3, 4, 5}))
    if listing.others:
        tables.append(_groups_table(listing.others, "runs if groups.toml lists it"))
    ruled: dict[tuple[str, str], list[str]] = {}
    for group in (*listing.groups, *listing.others):
        for feature, rules in group.rules.items():
            ruled.setdefault((group.name, rules), []).append(feature)
    tables += [
        paragraph(f"{', '.join(features)} of {name}: {rules}")
        for (name, rules), features in ruled.items()
    ]
    return "\n\n".join(tables)


def _groups_table(groups: Iterable[GroupListing], title: str) -> str:
    rows = [
        [
            group.name,
            group.source,
            group.asked,
            str(len(group.features)),
            f"{group.ttl.days} d",
            group.meaning,
        ]
        for group in groups
    ]
    return table([title, "rows from", "asked", "features", "ttl", "meaning"], rows, {0, 1, 2, 5})


def check_text(checked: CheckedCatalog) -> str:
    """Return what is wrong, one line each; or that nothing is."""
    if not checked.problems:
        universes = (
            f", {checked.universes} universe{'s' * (checked.universes > 1)}"
            if checked.universes
            else ""
        )
        sources = (
            f", {checked.sources} bar source{'s' * (checked.sources > 1)}"
            if checked.sources
            else ""
        )
        more = f"{universes}{sources}"
        return (
            f"{counted(checked.groups, 'group')}{more} and "
            f"{counted(checked.services, 'service')} are sound"
        )
    return "\n".join(checked.problems)
