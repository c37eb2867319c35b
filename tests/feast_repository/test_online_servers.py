"""The project's commands on an online store that is on a server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ingestion.jobs.audit.status.report import status
from ingestion.jobs.serve.feast_repository import own_tables
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.rebuild import rebuild
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.plugins.online.reading import table_name
from ingestion.project import Project
from tests.feast_repository.conftest import WEEK
from tests.stores.online_servers import postgres_server, redis_server


@pytest.fixture(scope="module", params=["redis", "postgres"])
def settings_of_server(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[str]:
    if request.param == "redis":
        with redis_server(tmp_path_factory.mktemp(request.param)) as url:
            yield f"type: ingestion.plugins.wide_redis.WideRedisOnlineStore\n  url: {url}"
    else:
        with postgres_server() as conninfo:
            kind = "ingestion.plugins.wide_postgres.WidePostgresOnlineStore"
            yield f"type: {kind}\n  conninfo: {conninfo}"


def test_all_commands_do_on_a_server_what_they_do_on_a_file(
    writable_week: Project, week: Project, settings_of_server: str, at
):
    at(WEEK[-1])
    yaml = writable_week.feast_repository / "feature_store.yaml"
    before, _, after = yaml.read_text().partition("online_store:\n")
    others = after[re.search(r"^\S", after, re.MULTILINE).start() :]
    yaml.write_text(f"{before}online_store:\n  {settings_of_server}\n{others}")
    materialize(writable_week)
    report = verify_online(writable_week)
    assert report.passed
    assert [each.symbols for each in report.views] == [60, 0]

    request = SelectRequest(by="RSI", top=5)
    assert select(writable_week, request).rows == select(week, request).rows
    assert status(writable_week).stores.online == own_tables(writable_week).place
    assert [each.rows for each in status(writable_week).stores.views] == [60, 0]

    group = writable_week.catalog.groups[0].name
    tables = own_tables(writable_week)
    tables.teardown([table_name("tvfeast", group)])
    assert not verify_online(writable_week).passed
    assert rebuild(writable_week).report.passed
    assert verify_online(writable_week).views == report.views
    assert not (writable_week.folder / "data" / "online.db").exists()
