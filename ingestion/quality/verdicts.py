"""The gate's verdict on stored rows, as the receipts of the runs that wrote them say it.

A verdict counts if nothing has changed since: the part is the file that its run recorded, the
receipt names this part by its hash, the run's ledger has the receipt's hash, and the catalog is the
same. Else the rows have to be judged again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ingestion.base.errors import CorruptPart, InputError
from ingestion.catalog import FeatureGroup
from ingestion.lakehouse.inspect import recorded_origins
from ingestion.lakehouse.ledger import read_run_files
from ingestion.lakehouse.origins import Origin
from ingestion.lakehouse.parts import Part
from ingestion.lakehouse.run_files import receipts_of_run
from ingestion.project import Project
from ingestion.runs.receipt_file import NOT_SAID, read_receipt
from ingestion.runs.run import catalog_hash


class NoVerdict(Exception):
    """There is no verdict that counts; ``str()`` says why."""


def gate_verdicts(
    project: Project, group: FeatureGroup, parts: Iterable[Part]
) -> dict[str, dict[str, Any]]:
    """Return what the gate said of the rows of some parts, by run: the receipts' ``quality``.

    Raises
    ------
    NoVerdict
        If there is a part of which it has said nothing, or nothing that still counts.
    FileNotFoundError
        If a part is gone since it was listed; under the lakehouse lock none goes.
    """
    verdicts: dict[str, dict[str, Any]] = {}
    for part in parts:
        try:
            origins = recorded_origins(part)
        except (ValueError, CorruptPart, InputError) as error:
            raise NoVerdict(f"{part.key} {error}") from None
        for origin in origins:
            verdicts[origin.run_id] = _verdict(project, group, origin)
    return verdicts


def _verdict(project: Project, group: FeatureGroup, origin: Origin) -> dict[str, Any]:
    lakehouse, run_id = project.lakehouse, origin.run_id
    try:
        recorded = read_run_files(lakehouse, run_id)
        for file in receipts_of_run(lakehouse, run_id):
            content = file.sha256()
            receipt = read_receipt(file)
            quality = receipt.get("quality")
            if not isinstance(quality, dict) or quality["group"] != group.name:
                continue
            if content not in {entry.sha256 for entry in recorded.get(file.key, ())}:
                raise NoVerdict(f"{file.key} is not what run {run_id} wrote")
            if receipt["catalog_sha256"] != catalog_hash(project.catalog):
                raise NoVerdict(f"the catalog has changed since run {run_id}")
            parts = {(each["part"], each["sha256"]) for each in receipt["parts"]}
            if quality["verdict"] == "publish" and (origin.part, origin.sha256) in parts:
                return quality
    except (InputError, OSError, *NOT_SAID) as error:
        raise NoVerdict(f"a receipt of run {run_id} cannot be read ({error})") from None
    raise NoVerdict(f"no receipt of run {run_id} has the gate's verdict on {origin.part}")
