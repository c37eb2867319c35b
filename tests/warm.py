"""What a command imports and looks up, once, in the process that all commands are forked from.

Imported alone: nothing here may start a thread, which a fork would leave behind. Feast is imported
as commands import it, before all else: what imports it later finds it so.
"""

# ruff: noqa: E402 - the order counts
from ingestion.jobs.serve.feast_repository import import_feast

import_feast()

import duckdb
import exchange_calendars
import feast.infra.compute_engines.local.compute
import feast.infra.offline_stores.duckdb
import feast.infra.online_stores.sqlite
import feast.infra.passthrough_provider
import feast.infra.registry.file
import feast.monitoring.dqm_job_manager
import feast.repo_operations
import great_expectations
import tqdm

import ingestion.cli
import ingestion.cli.commands
import ingestion.feast_objects
import ingestion.jobs.audit.compact
import ingestion.jobs.audit.explain
import ingestion.jobs.audit.verify_lakehouse
import ingestion.jobs.compute.parity
import ingestion.jobs.flow
import ingestion.jobs.ingest.import_bars
import ingestion.jobs.serve.rebuild
import ingestion.jobs.serve.select
import ingestion.jobs.serve.targets
import ingestion.jobs.serve.training_set
import ingestion.plugins.asof
import ingestion.plugins.engine
import ingestion.plugins.wide_sqlite
from ingestion.markets.calendars import calendar_of

calendar_of("NASDAQ")  # it takes a second or two, and all sessions of the sample are of it
__all__ = [
    "duckdb",
    "exchange_calendars",
    "feast",
    "great_expectations",
    "ingestion",
    "tqdm",
]
