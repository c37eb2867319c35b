"""What a project declares."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from ingestion.base.errors import GateRefused
from ingestion.cli.group import Jobs, cli, examples, this_project
from ingestion.cli.options import json_option
from ingestion.cli.output import show

if TYPE_CHECKING:
    from ingestion.jobs.audit.catalog_check import CatalogListing, CheckedCatalog, GroupListing


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
@json_option
@click.pass_context
def catalog_command(context: click.Context, as_json: bool) -> None:
    """List the groups, services, universes and bar sources.

    The groups that can be chosen in groups.toml are listed too.
    """
    from ingestion.jobs.audit.catalog_check import list_catalog

    if context.invoked_subcommand is None:
        project = this_project()
        show(as_json, list_catalog(project.catalog, project.formulas), catalog_text)


@catalog_command.command(
    "check",
    **examples(
        "catalog check",
    ),
)
@json_option
def check_command(as_json: bool) -> None:
    """Say what is wrong with the project's declarations; fails if anything is."""
    from ingestion.jobs.audit.catalog_check import check_catalog

    checked = check_catalog(this_project())
    show(as_json, checked, check_text)
    if checked.problems:
        found = "1 problem" if len(checked.problems) == 1 else f"{len(checked.problems)} problems"
        raise GateRefused(f"{found} in what the project declares")


def catalog_text(listing: CatalogListing) -> str:
    """Return the groups, the services, the universes and the bar sources as tables."""
    from tabulate import tabulate

    services = [
        [service.name, ", ".join(service.default_for), ", ".join(service.parts)]
        for service in listing.services
    ]
    universes = [[each.name, each.source, each.meaning] for each in listing.universes]
    tables = [
        _groups_table(listing.groups, "group"),
        tabulate(services, ["service", "default for", "parts"]),
    ]
    if universes:
        tables.append(tabulate(universes, ["universe", "symbols from", "meaning"]))
    if listing.sources:
        sources = [
            [
                source.name,
                source.priority,
                "split-adjusted" if source.adjusted else "as traded",
                ", ".join(source.exchanges) or "all",
                source.meaning,
            ]
            for source in listing.sources
        ]
        head = ["bar source", "priority", "prices", "exchanges", "meaning"]
        tables.append(tabulate(sources, head))
    if listing.others:
        tables.append(_groups_table(listing.others, "runs if groups.toml lists it"))
    ruled: dict[tuple[str, str], list[str]] = {}
    for group in (*listing.groups, *listing.others):
        for feature, rules in group.rules.items():
            ruled.setdefault((group.name, rules), []).append(feature)
    tables += [
        f"{', '.join(features)} of {name}: {rules}" for (name, rules), features in ruled.items()
    ]
    return "\n\n".join(tables)


def _groups_table(groups: Iterable[GroupListing], title: str) -> str:
    from tabulate import tabulate

    rows = [
        [
            group.name,
            group.source,
            group.asked,
            len(group.features),
            f"{group.ttl.days} d",
            group.meaning,
        ]
        for group in groups
    ]
    return tabulate(rows, [title, "rows from", "asked", "features", "ttl", "meaning"])


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
        return f"{checked.groups} groups{more} and {checked.services} services are sound"
    return "\n".join(checked.problems)
