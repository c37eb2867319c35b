from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from feast import Entity, FeatureService, ValueType

from ingestion.base.errors import (
    ClockError,
    CorruptPart,
    FeastRepositoryError,
    GateRefused,
    InputError,
    LakehouseLocked,
    demand_all,
)
from ingestion.catalog.declarations import SHIPPED
from ingestion.cli.daily import rebuild_text
from ingestion.jobs.serve.feast_repository import feast_calls, open_repository
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.rebuild import rebuild
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.lakehouse import append_part, lakehouse_lock, list_parts, read_file
from ingestion.project import Project
from tests.declared import GROUPS
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.feast_repository.conftest import WEEK
from tests.lakehouse.technicals import technicals

FRIDAY = WEEK[-1]


@pytest.fixture(autouse=True)
def now_is_friday_evening(at):
    at(FRIDAY)


def served(settings: Project, symbol: str) -> dict[str, float | None]:
    (row,) = select(settings, SelectRequest(symbols=[symbol], max_bar_age=timedelta(days=99))).rows
    return row.features


def test_online_equals_the_newest_row_of_the_lakehouse_bit_for_bit(week: Project):
    newest = read_file(list_parts(week.lakehouse, GROUP)[-1]).to_pylist()
    assert len(newest) == 60
    for row in newest:
        features = served(week, row["symbol"])
        assert {c.name: features[c.name] for c in GROUP.features} == {
            c.name: row[c.name] for c in GROUP.features
        }


def test_a_missing_registry_is_made(writable_week: Project):
    materialize(writable_week)
    views = open_repository(writable_week).list_feature_views()
    assert {view.name for view in views} == {group.name for group in GROUPS}


def test_s6_a_row_that_came_late_is_loaded_by_the_next_run(writable_week: Project):
    materialize(writable_week)
    late = technicals(["NASDAQ:AAPL"], FRIDAY - timedelta(minutes=5), created=FRIDAY, RSI=[1.0])
    later = technicals(["NYSE:LATE"], FRIDAY - timedelta(days=1), created=FRIDAY, RSI=[2.0])
    for rows in (late, later):
        append_part(writable_week.lakehouse, GROUP, rows, "late")
    materialize(writable_week)
    assert served(writable_week, "NYSE:LATE")["RSI"] == 2.0
    assert served(writable_week, "NASDAQ:AAPL")["RSI"] != 1.0


def test_a_restatement_wins_by_its_later_creation(writable_week: Project):
    restated = technicals(["NASDAQ:AAPL"], FRIDAY, created=FRIDAY + timedelta(1), RSI=[7.0])
    append_part(writable_week.lakehouse, GROUP, restated, "restated")
    materialize(writable_week)
    assert served(writable_week, "NASDAQ:AAPL")["RSI"] == 7.0


def test_an_empty_lakehouse_is_an_input_error(settings: Project):
    with pytest.raises(InputError, match="feature-ingest"):
        materialize(settings)


def test_a_registry_of_another_lakehouse_is_refused(writable_week: Project, tmp_path: Path):
    materialize(writable_week)
    moved = tmp_path / "moved"
    shutil.copytree(writable_week.lakehouse_at, moved)
    elsewhere = replace(writable_week, lakehouse_at=moved)
    for command in (materialize, lambda each: select(each, SelectRequest())):
        with pytest.raises(FeastRepositoryError, match=r"feast apply") as error:
            command(elsewhere)
        assert error.value.exit_code == 2


def test_select_before_anything_is_registered_says_what_to_do(writable_week: Project):
    with pytest.raises(FeastRepositoryError, match=r"feast apply"):
        select(writable_week, SelectRequest())


def test_a_project_without_a_feature_store_is_an_input_error(week: Project, tmp_path: Path):
    with pytest.raises(FeastRepositoryError, match=r"feature_store\.yaml"):
        select(replace(week, folder=tmp_path), SelectRequest(symbols=["A:A"]))


def test_it_takes_the_lakehouse_lock(writable_week: Project):
    with lakehouse_lock(writable_week.lakehouse, "other"), pytest.raises(LakehouseLocked):
        materialize(writable_week)


class TestRepair:
    """What Feast leaves broken for ever is mended by the next run, or told with its remedy."""

    def test_s13_a_deleted_online_store_is_made_again(self, writable_week: Project):
        materialize(writable_week)
        (writable_week.folder / "data" / "online.db").unlink()
        with pytest.raises(InputError, match="tvfeast materialize"):
            select(writable_week, SelectRequest(symbols=["NASDAQ:AAPL"]))
        materialize(writable_week)
        assert served(writable_week, "NASDAQ:AAPL")["RSI"] is not None

    def test_s8_a_failed_run_leaves_the_previous_values_served(
        self, writable_week: Project, monkeypatch
    ):
        materialize(writable_week)
        before = served(writable_week, "NASDAQ:AAPL")
        from ingestion.plugins.wide_sqlite import WideSqliteOnlineStore

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("the disk is on fire")

        with monkeypatch.context() as patch:
            patch.setattr(WideSqliteOnlineStore, "online_write_table", fail)
            for _ in range(2):
                with pytest.raises(Exception, match="on fire"):
                    materialize(writable_week)
        assert served(writable_week, "NASDAQ:AAPL") == before

    def test_s8_what_stock_runs_left_unservable_is_served_again_from_the_start_of_a_run(
        self, writable_week: Project, monkeypatch
    ):
        """A kill leaves a view MATERIALIZING, and the run after it, failing, GENERATED."""
        materialize(writable_week)
        before = served(writable_week, "NASDAQ:AAPL")
        from feast.feature_view import FeatureViewState

        from ingestion.plugins.wide_sqlite import WideSqliteOnlineStore

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("the disk is on fire")

        monkeypatch.setattr(WideSqliteOnlineStore, "online_write_table", fail)
        store = open_repository(writable_week)
        killed = store.get_feature_view(GROUP.name)
        killed.state = FeatureViewState.MATERIALIZING
        store.registry.apply_feature_view(killed, store.project)
        assert served(writable_week, "NASDAQ:AAPL") == before
        with feast_calls(writable_week), pytest.raises(RuntimeError):
            store.materialize(FRIDAY - timedelta(days=1), FRIDAY)
        with pytest.raises(FeastRepositoryError, match=r"GENERATED.*run `tvfeast materialize`"):
            served(writable_week, "NASDAQ:AAPL")
        with pytest.raises(RuntimeError):
            materialize(writable_week)
        assert served(writable_week, "NASDAQ:AAPL") == before

    def test_a_disabled_view_is_told_with_the_remedy(self, writable_week: Project):
        materialize(writable_week)
        store = open_repository(writable_week)
        disabled = store.get_feature_view(GROUP.name)
        disabled.enabled = False
        store.registry.apply_feature_view(disabled, store.project)
        with pytest.raises(FeastRepositoryError, match=r"feast feature-views enable tv_tech"):
            served(writable_week, "NASDAQ:AAPL")

    def test_a_corrupt_part_is_named_wherever_it_lies(self, writable_week: Project):
        materialize(writable_week)
        part = list_parts(writable_week.lakehouse, GROUP)[0].path
        part.write_bytes(part.read_bytes()[:-20])
        with pytest.raises(CorruptPart, match=str(part)) as error:
            materialize(writable_week)
        assert error.value.exit_code == 2

    @pytest.mark.parametrize("name", ["registry.db", "online.db"])
    def test_a_corrupt_database_is_told_with_the_remedy(self, writable_week: Project, name: str):
        materialize(writable_week)
        path = writable_week.folder / "data" / name
        path.write_bytes(b"\xff" * 5000)
        with pytest.raises(FeastRepositoryError, match=f"{name} cannot be read"):
            select(writable_week, SelectRequest(symbols=["NASDAQ:AAPL"]))

    def test_a_changed_definition_is_noticed(self, writable_week: Project):
        materialize(writable_week)
        name = f"groups/{GROUP.name}.py"
        own = writable_week.feast_repository / name
        own.parent.mkdir()
        shipped = (SHIPPED / name).read_text()
        own.write_text(shipped.replace('ttl="4d"', 'ttl="9d"'))
        with pytest.raises(FeastRepositoryError, match=r"has changed.*feast apply"):
            materialize(dataclasses.replace(writable_week))


def test_an_earlier_clock_does_not_overwrite_newer_values(writable_week: Project, at):
    materialize(writable_week)
    at(FRIDAY - timedelta(days=1))
    with pytest.raises(ClockError, match="TVFEAST_NOW"):
        materialize(writable_week)
    at(FRIDAY)
    assert served(writable_week, "NASDAQ:AAPL")["RSI"] is not None


def test_s6_a_future_end_that_a_stock_command_left_is_taken_back(writable_week: Project, at):
    """Feast would start its next increment there, and never load what comes in between."""
    materialize(writable_week)
    store = open_repository(writable_week)
    with feast_calls(writable_week):
        store.materialize(FRIDAY - timedelta(days=1), FRIDAY + timedelta(days=30))
    at(FRIDAY + timedelta(minutes=1))
    materialize(writable_week)
    for view in open_repository(writable_week).list_feature_views():
        assert view.most_recent_end_time <= FRIDAY + timedelta(minutes=1)
    assert served(writable_week, "NASDAQ:AAPL")["RSI"] is not None


def test_the_receipt_lists_what_was_loaded_and_the_next_one_what_came_since(
    writable_week: Project, at
):
    first = materialize(writable_week)
    (technicals_first, _) = first.loads
    assert (technicals_first.rows, technicals_first.changed) == (60, 60)
    assert technicals_first.new_parts == len(technicals_first.parts) == 5
    at(FRIDAY + timedelta(minutes=1))
    late = technicals(["NYSE:LATE"], FRIDAY - timedelta(days=1), created=FRIDAY, RSI=[2.0])
    append_part(writable_week.lakehouse, GROUP, late, "late")
    (load, _) = materialize(writable_week).loads
    assert (load.rows, load.changed, load.new_parts, load.late_parts) == (61, 1, 1, 1)
    (again, _) = materialize(writable_week).loads
    assert (again.changed, again.new_parts) == (0, 0)


class TestVerifyOnline:
    """``verify --online`` names whatever is not what the lakehouse holds."""

    @pytest.fixture
    def loaded(self, writable_week: Project) -> Project:
        materialize(writable_week)
        return writable_week

    def test_a_fresh_load_agrees_in_every_value(self, loaded: Project):
        report = verify_online(loaded)
        assert report.passed
        assert report.views[0].symbols == 60
        assert report.views[0].values == 60 * len(GROUP.served)

    def test_a_row_that_is_not_loaded_yet_is_a_difference(self, loaded: Project):
        rows = technicals(["NASDAQ:AAPL", "NYSE:NEW"], FRIDAY - timedelta(minutes=1), RSI=[1.0, 2])
        restated = technicals(["NASDAQ:MSFT"], FRIDAY, created=FRIDAY + timedelta(1), RSI=[7.0])
        for number, each in enumerate((rows, restated)):
            append_part(loaded.lakehouse, GROUP, each, f"late-{number}")
        report = verify_online(loaded)
        named = {(each.symbol, each.column) for each in report.differences}
        assert ("NYSE:NEW", "row") in named
        assert {("NASDAQ:MSFT", "RSI"), ("NASDAQ:MSFT", "created_timestamp")} <= named
        assert "NASDAQ:AAPL" not in {symbol for symbol, _ in named}
        with pytest.raises(GateRefused, match="tvfeast materialize"):
            demand_all(report)

    def test_one_flipped_bit_is_found(self, loaded: Project):
        with sqlite3.connect(loaded.folder / "data" / "online.db") as connection:
            ((table,),) = connection.execute(
                "SELECT name FROM sqlite_master WHERE name LIKE 'wide%tv_technicals_1d'"
            )
            key, words = connection.execute(f"SELECT entity_key, words FROM {table}").fetchone()
            flipped = bytes([words[0] ^ 1]) + words[1:]
            connection.execute(f"UPDATE {table} SET words = ? WHERE entity_key = ?", (flipped, key))
        connection.close()
        report = verify_online(loaded)
        assert report.different == 1
        assert report.differences[0].column == GROUP.features[0].name

    def test_rows_past_their_ttl_are_counted_and_no_difference(self, loaded: Project, at):
        at(FRIDAY + GROUP.ttl + timedelta(microseconds=1))
        report = verify_online(loaded)
        assert report.passed
        assert (report.views[0].symbols, report.views[0].expired) == (0, 60)

    def test_a_part_that_is_gone_is_a_difference(self, loaded: Project):
        list_parts(loaded.lakehouse, GROUP)[-1].path.unlink()
        report = verify_online(loaded)
        assert {each.column for each in report.differences} >= {"event_timestamp"}
        assert rebuild(loaded).report.passed


class TestRebuild:
    """Registry and online store are made anew from what is left."""

    @pytest.mark.parametrize("damage", ["missing", "corrupt", "none"])
    def test_whatever_was_there_the_lakehouse_is_served(self, writable_week: Project, damage: str):
        materialize(writable_week)
        before = served(writable_week, "NASDAQ:AAPL")
        for name in ("registry.db", "online.db"):
            path = writable_week.folder / "data" / name
            if damage == "missing":
                path.unlink()
            elif damage == "corrupt":
                path.write_bytes(b"\xff" * 5000)
        result = rebuild(writable_week)
        assert result.report.passed
        assert result.report.views[0].symbols == 60
        assert served(writable_week, "NASDAQ:AAPL") == before
        left = {path.name for path in (writable_week.folder / "data").iterdir()}
        assert not {name for name in left if "rebuild" in name}

    def test_nobody_commits_what_is_overwritten_when_they_are_put_in_their_places(
        self, writable_week: Project, monkeypatch
    ):
        materialize(writable_week)
        store = open_repository(writable_week)
        move = Path.replace
        tried: list[Path] = []

        def commit() -> None:
            mine = Entity(name="mine", value_type=ValueType.STRING)
            store.registry.apply_entity(mine, store.project)

        def beside_another(path: Path, target: Path) -> Path:
            if target == writable_week.folder / "data" / "registry.db":
                with monkeypatch.context() as inner:
                    inner.setattr(Path, "replace", move)
                    inner.setattr("ingestion.base.locks._LONGEST_WAIT_S", 0)
                    with pytest.raises(InputError, match="locked by another process"):
                        commit()
                tried.append(target)
            return move(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", beside_another)
            assert rebuild(writable_week).report.passed
        assert len(tried) == 1
        commit()
        registered = open_repository(writable_week)
        assert "mine" in {entity.name for entity in registered.list_entities()}

    def test_a_store_that_is_open_notices_it_though_the_old_file_is_of_tomorrow(
        self, writable_week: Project
    ):
        materialize(writable_week)
        registry = writable_week.folder / "data" / "registry.db"
        tomorrow = registry.stat().st_mtime + 86_400
        os.utime(registry, (tomorrow, tomorrow))
        store = open_repository(writable_week)
        assert rebuild(writable_week).report.passed
        store.registry.apply_entity(Entity(name="mine", value_type=ValueType.STRING), store.project)
        assert "mine" in {each.name for each in open_repository(writable_week).list_entities()}

    def test_its_receipt_is_of_this_project_and_the_next_load_finds_nothing_new(
        self, writable_week: Project
    ):
        result = rebuild(writable_week)
        receipt = json.loads(result.materialize.receipt.path.read_bytes())
        assert receipt["job"] == "rebuild"
        assert receipt["settings"]["project"] == str(writable_week.folder)
        assert [load.new_parts for load in materialize(writable_week).loads] == [0, 0]

    def test_whoever_has_the_file_open_sees_the_new_rows(self, writable_week: Project):
        """A feature server, another process."""
        materialize(writable_week)
        path = writable_week.folder / "data" / "online.db"
        with closing(sqlite3.connect(path)) as reader:
            count = "SELECT count(*) FROM wide_tvfeast_tv_technicals_1d"
            assert reader.execute(count).fetchone() == (60,)
            reader.execute("DELETE FROM wide_tvfeast_tv_technicals_1d")
            reader.commit()
            assert rebuild(writable_week).report.passed
            assert reader.execute(count).fetchone() == (60,)

    def test_what_others_had_registered_is_named(self, writable_week: Project):
        materialize(writable_week)
        store = open_repository(writable_week)
        theirs = store.get_feature_view(GROUP.name)
        theirs.name = "theirs"
        store.apply([theirs, FeatureService(name="their_service", features=[theirs])])
        result = rebuild(writable_week)
        assert result.dropped == ("their_service", "theirs")
        assert "their_service, theirs" in rebuild_text(result).splitlines()[-1]
        again = rebuild(writable_week)
        assert again.dropped == ()
        assert "no longer registered" not in rebuild_text(again)

    def test_a_failing_rebuild_leaves_what_was_served(self, writable_week: Project):
        materialize(writable_week)
        before = served(writable_week, "NASDAQ:AAPL")
        part = list_parts(writable_week.lakehouse, GROUP)[-1].path
        part.write_bytes(part.read_bytes()[:-20])
        with pytest.raises(CorruptPart, match=str(part)):
            rebuild(writable_week)
        assert served(writable_week, "NASDAQ:AAPL") == before

    def test_an_empty_lakehouse_is_an_input_error(self, settings: Project):
        with pytest.raises(InputError, match="feature-ingest"):
            rebuild(settings)
