"""What a command imports and looks up, once, in the process that all commands are forked from.

Imported alone: nothing here may start a thread, which a fork would leave behind.
"""

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
import tabulate

import feature_repo.definitions
import feature_repo.stores.asof
import feature_repo.stores.engine
import feature_repo.stores.wide_sqlite
import ingestion.cli
import ingestion.jobs.compact
import ingestion.jobs.explain
import ingestion.jobs.flow_data
import ingestion.jobs.import_bars
import ingestion.jobs.parity
import ingestion.jobs.rebuild
import ingestion.jobs.select
import ingestion.jobs.targets
import ingestion.jobs.training_set
import ingestion.jobs.verify_lakehouse
import ingestion.render.bars
import ingestion.render.checks
import ingestion.render.explanation
import ingestion.render.flow
import ingestion.render.online
import ingestion.render.progress
import ingestion.render.scans
import ingestion.render.selection
import ingestion.render.status
import ingestion.render.tracing
import ingestion.render.training
import ingestion.render.trust
from ingestion.calendars import calendar_of

calendar_of("NASDAQ")  # it takes a second or two, and all sessions of the sample are of it
__all__ = [
    "duckdb",
    "exchange_calendars",
    "feast",
    "feature_repo",
    "great_expectations",
    "ingestion",
    "tabulate",
]
