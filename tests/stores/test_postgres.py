"""The online store in PostgreSQL: what is told of a server that is not there or refuses."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest

from ingestion.base.errors import FeastRepositoryError
from ingestion.plugins.online.layout import Layout, Values
from ingestion.plugins.online.postgres_tables import PostgresPlace, PostgresTables
from ingestion.plugins.online.rows import Read, Rows
from tests.stores.online_servers import free_port, postgres_server

LAYOUT = Layout.of([("x", "DOUBLE")])
ROW = Rows([b"a"], np.array([1]), np.array([1]), {"x": Values.of("DOUBLE", [1.0])})


@pytest.mark.parametrize(
    ("conninfo", "words"),
    [
        (f"host=127.0.0.1 port={free_port()} user=u password=secret", "is the server running"),
        ("host=127.0.0.1 secret", "none of PostgreSQL's"),
    ],
    ids=["no server", "no conninfo"],  # a port in a name would differ between test processes
)
def test_a_server_that_is_not_there_is_told_without_its_password(conninfo: str, words: str):
    with pytest.raises(FeastRepositoryError, match=words) as told:
        PostgresTables(PostgresPlace(conninfo)).read([Read("t", [])])
    assert "secret" not in str(told.value)
    assert "secret" not in PostgresTables(PostgresPlace(conninfo)).place


def test_a_connection_that_the_server_has_ended_is_opened_anew():
    with postgres_server() as conninfo:
        tables = PostgresTables(PostgresPlace(conninfo))
        assert tables.look({"t": (0, 9)}) is None
        assert tables.write("t", LAYOUT, ROW) == 1
        with psycopg.connect(conninfo, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'tvfeast'"
            )
        with pytest.raises(FeastRepositoryError, match="is the server running"):
            tables.read([Read("t", [])])
        assert tables.read([Read("t", [])])[0].keys == [b"a"]


def test_who_may_only_read_reads_and_is_told_that_it_may_not_write():
    with postgres_server() as conninfo:
        PostgresTables(PostgresPlace(conninfo)).write("t", LAYOUT, ROW)
        with psycopg.connect(conninfo, autocommit=True) as owner:
            owner.execute("CREATE USER reader")
            owner.execute("GRANT USAGE ON SCHEMA wide TO reader")
            owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA wide TO reader")
        reader = PostgresTables(PostgresPlace(conninfo.replace("user=feast", "user=reader")))
        assert reader.read([Read("t", ["x"])])[0].values["x"].to_list() == [1.0]
        with pytest.raises(FeastRepositoryError, match="permission denied"):
            reader.write("t", LAYOUT, ROW)
