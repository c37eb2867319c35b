"""Join labels to the features that were known at their time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import from_numpy, has_value
from ingestion.base.disk import check_writable
from ingestion.base.errors import FeastRepositoryError, InputError
from ingestion.base.parts import hash_of
from ingestion.base.wording import counted, did_you_mean, reason_of
from ingestion.catalog import UNIVERSE_MEMBERS, Catalog, FeatureGroup
from ingestion.datasets import Features
from ingestion.datasets.choice import active_rows
from ingestion.datasets.panel import by_group
from ingestion.datasets.set_file import SetFile, json_beside
from ingestion.jobs.serve.ages import NEVER, ages_at
from ingestion.jobs.serve.feast_repository import feast_calls, open_repository, require_data
from ingestion.jobs.serve.label_warnings import nothing_known_warning
from ingestion.jobs.serve.provenance import origin as made_by
from ingestion.jobs.serve.provenance import parts_read, spans_of
from ingestion.jobs.serve.registered import Reference, Registered
from ingestion.jobs.serve.show_universe import membership_of
from ingestion.jobs.serve.targets import label_spans
from ingestion.lakehouse import RunFile
from ingestion.project import Project
from ingestion.runs.known_at import check_known, latest_known
from ingestion.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

RECEIPT_FILE = "training_set.json"
_KEYS = ["symbol", "event_timestamp"]


@dataclass(frozen=True)
class TrainingSetRequest:
    """Which labels to join to which features."""

    labels: Path | pa.Table
    """CSV or Parquet with ``symbol``, ``event_timestamp`` and targets; or the rows themselves. What
    looks like a number in a CSV becomes one."""
    out: Path
    """Parquet file to write."""
    service: str | None = None
    """The catalog's default for labels if None."""
    features: Sequence[str] = ()
    """Features of any group to join in place of a service: ``FEATURE`` or ``GROUP:FEATURE``."""
    ages: bool = False
    """Whether to add a column per group, ``GROUP__age_s``: how old its row was then."""
    as_recorded: bool = False
    """Join only rows that had been written by the label's time, not all that were knowable."""
    made: Mapping[str, object] | None = None
    """How labels that come as rows were made, for the receipt."""
    universe: str | None = None
    """Keep only labels of symbols that were known to be in this universe at their time; all where
    that is unknown. None keeps all."""
    known_at: datetime | None = None
    """Read the lakehouse as it was then; None is now."""


@dataclass(frozen=True)
class TrainingSetResult:
    """What was written."""

    out: Path
    rows: int
    matched: int
    """Label rows with at least one feature value."""
    created_later: int
    """Joined rows that were written after their label's time: knowable then, recorded later."""
    features: tuple[str, ...]
    known_at: datetime
    fingerprint: str
    """Of the rows in any order."""
    receipt: RunFile
    made: Mapping[str, object] | None
    """How labels that came as rows were made."""
    outside: int = 0
    """Labels that were left out: their symbol was not in the universe at their time."""
    unknown: int = 0
    """Labels at whose time it is not known who was in the universe; they are kept."""
    of_members: str | None = None
    """The universe."""
    warnings: tuple[str, ...] = ()


def training_set(project: Project, request: TrainingSetRequest) -> TrainingSetResult:
    """Join a label file point-in-time and write the training set.

    Every label row is kept, in the file's order, with its columns untouched; features that were
    not known at its time are null. Of a universe, only the labels of its members are kept.

    Raises
    ------
    InputError
        If the label file cannot be read, lacks a column, has a time that cannot be read, or a
        column of a feature's name; if the service is not registered, a view of it has no data, or
        there is no such universe; if the set cannot be written where it is to be.
    FeastRepositoryError
        If the configured offline store does not give every label back in its place.
    """
    given = request.labels
    origin = str(given) if isinstance(given, Path) else "the labels"
    if isinstance(given, Path) and given.resolve() == request.out.resolve():
        raise InputError(f"--out {request.out} is the label file itself; name another")
    check_writable(request.out)
    chosen = request.service or ""
    if not chosen and not request.features:
        chosen = project.catalog.default_service("labels").name
    asked = {"labels": origin, "out": request.out, "service": chosen}
    if request.features:
        asked |= {"service": None, "features": list(request.features)}
    asked |= {"as_recorded": request.as_recorded, "made": request.made}
    asked |= {"universe": request.universe, "known_at": request.known_at}
    with Run.open(project, "training-set", asked, file=RECEIPT_FILE, writes=False) as run:
        return _make(project, request, origin, chosen, run)


def _make(
    project: Project, request: TrainingSetRequest, origin: str, chosen: str, run: Run
) -> TrainingSetResult:
    given = request.labels
    known_at = request.known_at or latest_known(project.lakehouse)
    labels = _checked(origin, _read(given) if isinstance(given, Path) else given)
    count, unknown = labels.num_rows, 0
    if request.universe is not None:
        labels, unknown = _of_members(project, request.universe, request, origin, labels, known_at)
    outside = count - labels.num_rows
    store = open_repository(project, apply_if_missing=True)
    with feast_calls(project):
        # Feast's registry may have services that no file of the catalog declares.
        services = Registered.of(store).services
        if request.features:
            wanted = _named(project.catalog, request.features)
        elif chosen not in services:
            near = did_you_mean(chosen, services)
            raise InputError(f'no service "{chosen}"{near}; there are {", ".join(services)}')
        else:
            wanted = services[chosen]
        require_data(project, {reference.view for reference in wanted})
        groups = {group.name: group for group in project.catalog.groups}
        own = [groups[each.view] for each in wanted if each.view in groups]
        if request.known_at is not None:
            check_known(project.lakehouse, dict.fromkeys(own), known_at)
        names = [reference.feature for reference in wanted]
        # Views of one service may share a feature's name; then each has its view's before it.
        full = len(set(names)) < len(names)
        if full:
            names = [f"{reference.view}__{reference.feature}" for reference in wanted]
        if clash := sorted(set(names) & set(labels.column_names)):
            raise InputError(f"{origin}: {clash[0]} is a feature's name; rename the column")
        keys = labels.select(_KEYS).to_pandas(ignore_metadata=True)
        keys["event_timestamp"] = instants_of(origin, keys["event_timestamp"])
        parts = _parts(project, request, dict.fromkeys(own), keys["event_timestamp"])
        # Feast hands its configuration to the store, and nothing else that says as of when.
        store.config.offline_store.known_at = known_at
        retrieval = store.get_historical_features(
            entity_df=keys,
            features=[str(each) for each in wanted]
            if request.features
            else store.get_feature_service(chosen),
            full_feature_names=full,
            filter_by_created_timestamp=request.as_recorded,
        )
        answer = retrieval.to_arrow()
    if not hasattr(retrieval, "counts"):
        raise FeastRepositoryError(
            "the configured offline store may lose labels or their order: this needs "
            "ingestion.plugins.asof.AsofOfflineStore in feature_store.yaml"
        )
    for name in names:
        labels = labels.append_column(name, answer[name])
    if request.ages:
        labels = _with_ages(project, labels, keys, wanted, request.as_recorded, known_at)
    counts = retrieval.counts
    there = has_value(answer.select(names))
    matched = pc.sum(there).as_py() or 0
    warnings = tuple(_warnings(labels["symbol"], there))
    with SetFile(request.out, labels.schema, run.id) as file:
        file.write(labels)
        file.record(
            kind="training set",
            **made_by(project, run.id, _of_groups(groups, wanted, names)),
            service=None if request.features else chosen,
            labels=_told_labels(given, request),
            universe=request.universe,
            ages=request.ages,
            known_at=known_at,
            as_recorded=request.as_recorded,
            parts=parts,
            rows=labels.num_rows,
            matched=matched,
            created_later={name: view.created_later for name, view in counts.items()},
        )
    run.tell(fingerprint=file.provenance["fingerprint"], provenance=str(json_beside(file.place)))
    run.tell(rows=labels.num_rows, matched=matched, features=names, views=counts)
    run.tell(outside=outside, unknown=unknown, known_at=known_at, warnings=warnings)
    return TrainingSetResult(
        out=request.out,
        rows=labels.num_rows,
        matched=matched,
        created_later=sum(view.created_later or 0 for view in counts.values()),
        features=tuple(names),
        known_at=known_at,
        fingerprint=file.provenance["fingerprint"]["rows"],
        receipt=run.receipt,
        made=request.made,
        outside=outside,
        unknown=unknown,
        of_members=request.universe,
        warnings=warnings,
    )


def _of_groups(
    groups: Mapping[str, FeatureGroup], wanted: Sequence[Reference], names: Sequence[str]
) -> list[Features]:
    """Put features of the catalog's groups together; Feast may have views of its own."""
    return by_group(
        (groups[each.view], each.feature, name)
        for each, name in zip(wanted, names, strict=True)
        if each.view in groups
    )


def _told_labels(given: Path | pa.Table, request: TrainingSetRequest) -> Mapping[str, object]:
    """Return what the labels are: a file with its hash, or how they were made."""
    if isinstance(given, Path):
        with given.open("rb") as file:
            return {"file": given, "sha256": hash_of(file)}
    return request.made or {"rows": given.num_rows}


def _parts(
    project: Project, request: TrainingSetRequest, groups: Iterable[FeatureGroup], times: pd.Series
) -> Mapping[str, Mapping[str, str]]:
    spans = spans_of(groups, times.min(), times.max())
    target = (request.made or {}).get("target")
    if target is not None:
        spans += label_spans(str(target), times.min().date(), times.max().date())
    if request.universe is not None or (request.made or {}).get("universe"):
        spans.append((UNIVERSE_MEMBERS, date.min, date.max))
    return parts_read(project.lakehouse, spans)


def _of_members(
    project: Project,
    universe: str,
    request: TrainingSetRequest,
    origin: str,
    labels: pa.Table,
    known_at: datetime,
) -> tuple[pa.Table, int]:
    """Keep the labels of a universe's members; return how many are of times when it is unknown."""
    import numpy as np

    membership = membership_of(
        project, universe, as_recorded=request.as_recorded, known_at=known_at
    )
    instants = instants_of(origin, labels.select(_KEYS).to_pandas()["event_timestamp"])
    times = np.asarray(instants.astype("int64"), dtype=np.int64)
    kept = labels.filter(from_numpy(active_rows(membership, labels["symbol"], times)))
    if not kept.num_rows:
        raise InputError(f"no symbol of {origin} was in {universe} at its label's time")
    return kept, int(np.count_nonzero(~membership.is_known(times)))


def _named(catalog: Catalog, names: Sequence[str]) -> list[Reference]:
    """Return features by their names; several groups may have a plain one."""
    found = [catalog.feature(name) for name in dict.fromkeys(names)]
    return [Reference(group.name, column.name) for group, column in found]


def _with_ages(
    project: Project,
    labels: pa.Table,
    keys: pd.DataFrame,
    wanted: Sequence[Reference],
    as_recorded: bool,
    known_at: datetime,
) -> pa.Table:
    """Add how old each group's row was at the label's time, in seconds; null without a row."""
    import numpy as np

    instants = np.asarray(keys["event_timestamp"].astype("int64"), dtype=np.int64)
    symbols = keys["symbol"].tolist()
    for name in dict.fromkeys(each.view for each in wanted):
        group = project.catalog.group(name)
        ages = ages_at(
            project.lakehouse,
            group,
            symbols,
            instants,
            as_recorded=as_recorded,
            known_at=known_at,
        )
        column = pa.array(ages, mask=ages == NEVER)
        labels = labels.append_column(f"{name}__age_s", column)
    return labels


def _warnings(symbols: pa.ChunkedArray, there: pa.ChunkedArray) -> Iterator[str]:
    """Yield what to know of labels, of which some have features there."""
    known = {*symbols.filter(there).unique().to_pylist()}
    if without := {*symbols.unique().to_pylist()} - known:
        yield nothing_known_warning(without, known)


def _read(path: Path) -> pa.Table:
    import pandas as pd
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".csv":
            return pa.Table.from_pandas(
                pd.read_csv(path, keep_default_na=False, na_values=[""]), preserve_index=False
            )
        return pq.read_table(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"the label file {path} cannot be read: {reason_of(error)}") from None


def _checked(origin: str, labels: pa.Table) -> pa.Table:
    for key in _KEYS:
        if key not in labels.column_names:
            raise InputError(
                f"{origin} has no column {key}; it has {', '.join(labels.column_names)}"
            )
    if not labels.num_rows:
        raise InputError(f"{origin} has no rows")
    if missing := labels["symbol"].null_count:
        raise InputError(f"{origin}: {counted(missing, 'row has', 'rows have')} no symbol")
    kind = labels.schema.field("symbol").type
    if kind not in (pa.string(), pa.large_string()):
        raise InputError(f"{origin}: symbol is no text, but {kind}")
    return labels


def instants_of(origin: str, times: pd.Series) -> pd.Series:
    """Read times in whatever form; those without a zone are UTC."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(times):
        raise InputError(
            f"{origin}: event_timestamp is a number; give ISO 8601 times, such as 2026-01-16T21:30Z"
        )
    bad = pd.to_datetime(times, utc=True, errors="coerce", format="ISO8601").isna()
    if bad.any():
        row = bad.tolist().index(True)
        raise InputError(
            f"{origin}, row {row + 1}: event_timestamp {times.iloc[row]!r} is not an ISO 8601 time"
        )
    # By the name of ISO 8601, pandas reads a time without a zone in that of the row before.
    return pd.to_datetime(times, utc=True, format="mixed").astype("datetime64[us, UTC]")
