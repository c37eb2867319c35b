"""What is served is read without Feast, and with the same answers and refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ingestion.base.errors import FeastRepositoryError, InputError
from ingestion.jobs.serve import registry_message, rows_to_rank
from ingestion.jobs.serve.feast_repository import (
    check_registry,
    feast_project,
    open_repository,
    own_stores,
    without_type_checks,
)
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.registered import Reference, Registered
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.project import Project
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.feast_repository.conftest import WEEK

FRIDAY = WEEK[-1]


@pytest.fixture(autouse=True)
def now_is_friday_evening(at: Callable[[datetime], None]) -> None:
    at(FRIDAY)


def test_the_registry_is_read_as_feast_reads_it(week: Project) -> None:
    found = own_stores(week)
    assert found is not None
    registered, online = found
    assert online.place == str(week.folder / "data" / "online.db")
    store = open_repository(week)
    views = {view.name: view for view in store.list_feature_views()}
    assert registered.views.keys() == views.keys()
    for name, view in registered.views.items():
        assert view.path == views[name].batch_source.path
        assert view.ttl == views[name].ttl
        assert view.features == {
            each.name: each.dtype.to_value_type().value for each in views[name].features
        }
        assert (view.is_enabled, view.unserved_state) == (True, None)
    assert registered.services == {
        service.name: [
            Reference(view.name_to_use(), each.name)
            for view in service.feature_view_projections
            for each in view.features
        ]
        for service in store.list_feature_services()
    }
    assert Registered.of(store) == registered
    message = store.registry.proto().SerializeToString()
    assert Registered.parse(message, "another project") == Registered({}, {})


@pytest.mark.parametrize("hours", [0, 24, 24 * 7, 24 * 60, -24])
def test_both_ways_give_the_same_ranking(
    week: Project, hours: int, at: Callable[[datetime], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    at(FRIDAY + timedelta(hours=hours))
    symbols = ["NASDAQ:AAPL", "X:GONE", "NYSE:UPS", "BINANCE:BTCUSDT"]
    asked = SelectRequest(symbols=symbols, max_bar_age=timedelta(days=99), top=None)
    own = select(week, asked)
    monkeypatch.setattr(rows_to_rank, "own_stores", lambda *_: None)
    assert select(week, asked) == own


def test_a_sound_registry_is_checked_without_feast_and_feast_leaves_typeguard_as_it_was(
    week: Project,
) -> None:
    script = (
        "import sys, typeguard\n"
        "from ingestion.jobs.serve.feast_repository import check_registry, import_feast\n"
        "from ingestion.project import Project\n"
        "check_registry(Project.from_environment())\n"
        "assert 'feast' not in sys.modules\n"
        "own = typeguard.typechecked\n"
        "import_feast()\n"
        "assert 'feast' in sys.modules and typeguard.typechecked is own\n"
    )
    environment = os.environ | {"TVFEAST_PROJECT": str(week.folder)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


class Typeguard(ModuleType):
    """A version of typeguard whose decorator is told by the test."""

    def __init__(self, **content: object) -> None:
        super().__init__("typeguard")
        vars(self).update(content)


@pytest.mark.parametrize("found", [None, Typeguard(), Typeguard(typechecked="another thing")])
def test_without_typeguard_or_with_another_one_nothing_is_left_out(
    found: Typeguard | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "typeguard", found)
    before = dict(vars(found)) if found else {}
    with without_type_checks():
        pass
    assert (dict(vars(found)) if found else {}) == before


def test_classes_are_made_without_checks_and_later_ones_with_them() -> None:
    import typeguard

    def checked(*options: dict[str, Any]) -> Callable[[Any], Any]:
        def count(number: int) -> int:
            return number

        return (
            typeguard.typechecked(**options[0])(count) if options else typeguard.typechecked(count)
        )

    with without_type_checks():
        plain = [checked(), checked({"forward_ref_policy": typeguard.ForwardRefPolicy.IGNORE})]
    assert [each("one") for each in plain] == ["one"] * 2
    with pytest.raises(typeguard.TypeCheckError):
        checked()("one")


def test_the_names_and_numbers_are_those_of_feasts_messages() -> None:
    from feast.protos.feast.core import FeatureView_pb2, Registry_pb2
    from feast.protos.feast.types.Value_pb2 import ValueType
    from google.protobuf import duration_pb2

    assert Registry_pb2.DESCRIPTOR.pool is duration_pb2.DESCRIPTOR.pool
    for kind, fields in registry_message.FIELDS.items():
        message = Registry_pb2.DESCRIPTOR.pool.FindMessageTypeByName(kind)
        assert fields == {name: message.fields_by_name[name].number for name in fields}, kind
    types, states = registry_message.VALUE_TYPES, registry_message.UNSERVED_STATES
    assert types == {name: ValueType.Enum.Value(name) for name in types}
    assert states == {name: FeatureView_pb2.FeatureViewState.Value(name) for name in states}


def test_a_registry_that_is_lost_or_damaged_or_of_others_is_refused(
    writable_week: Project, tmp_path: Path
) -> None:
    with pytest.raises(FeastRepositoryError, match=r"is not registered.*feast apply"):
        select(writable_week, SelectRequest())
    materialize(writable_week)
    select(writable_week, SelectRequest())
    registry = writable_week.folder / "data" / "registry.db"
    content = registry.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], b"\xff" * 12, b"\x07" + content):
        registry.write_bytes(damaged)
        with pytest.raises(FeastRepositoryError, match=r"registry\.db cannot be read"):
            select(writable_week, SelectRequest())
    registry.write_bytes(content)
    (writable_week.folder / "data" / "online.db").unlink()
    with pytest.raises(InputError, match="tvfeast materialize"):
        select(writable_week, SelectRequest())
    writable_week.lakehouse_at.rename(tmp_path / "moved")
    elsewhere = Project(writable_week.folder, tmp_path / "moved", "https://scanner.invalid")
    with pytest.raises(FeastRepositoryError, match="the configured lakehouse has it at"):
        select(elsewhere, SelectRequest())


def test_a_definition_that_has_changed_since_is_refused(writable_week: Project) -> None:
    materialize(writable_week)
    folder = writable_week.feast_repository / "groups"
    folder.mkdir()
    (folder / "services.py").write_text(
        "from ingestion.catalog import Service\n"
        "S = Service('selection_v1', ['tv_technicals_1d'], meaning='m', rank_by='RSI',\n"
        "            default_for=('selection', 'labels', 'target'))\n"
    )
    changed = Project(writable_week.folder, writable_week.lakehouse_at, writable_week.scanner_url)
    for reads in (lambda: select(changed, SelectRequest()), lambda: check_registry(changed)):
        with pytest.raises(FeastRepositoryError, match="definition of selection_v1 has changed"):
            reads()


def test_only_groups_that_are_ranked_need_to_be_registered(writable_week: Project) -> None:
    materialize(writable_week)
    served = select(writable_week, SelectRequest()).rows
    folder = writable_week.feast_repository / "groups"
    folder.mkdir()
    (folder / "own.py").write_text(
        "from ingestion.catalog import Column, FeatureGroup, Files, Service\n"
        "G = FeatureGroup(name='own', meaning='m', source=Files(), ttl='4d',\n"
        "                 features=[Column('x')])\n"
        "S = Service('own_v1', ['own'], meaning='m', rank_by='x')\n"
    )
    more = Project(writable_week.folder, writable_week.lakehouse_at, writable_week.scanner_url)
    assert select(more, SelectRequest()).rows == served
    for named in ({"service": "own_v1"}, {"by": "own:x"}):
        request = SelectRequest(**named, symbols=["NYSE:KO"])
        with pytest.raises(FeastRepositoryError, match="own is not registered with Feast"):
            select(more, request)


@pytest.mark.parametrize(
    ("change", "told"), [("disable", "is disabled"), ("state", "in the state GENERATED")]
)
def test_a_view_that_feast_does_not_serve_is_refused(
    writable_week: Project, change: str, told: str
) -> None:
    from feast.feature_view import FeatureViewState

    materialize(writable_week)
    store = open_repository(writable_week)
    view = store.get_feature_view(GROUP.name)
    if change == "disable":
        view.enabled = False
    else:
        view.state = FeatureViewState.GENERATED
    store.registry.apply_feature_view(view, feast_project(writable_week), commit=True)
    with pytest.raises(FeastRepositoryError, match=told):
        select(writable_week, SelectRequest())
