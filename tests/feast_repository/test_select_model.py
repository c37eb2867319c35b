"""Ranking by a model: its answers are the model's own, and its inputs are the training set's."""

from __future__ import annotations

import json
import pickle
import shutil
from datetime import date
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

from ingestion.base.errors import InputError
from ingestion.cli.commands import cli
from ingestion.datasets import Schedule
from ingestion.jobs.serve.panel import PanelRequest, write_panel
from ingestion.jobs.serve.select import Selection, SelectRequest, select
from ingestion.project import Project
from tests.feast_repository.conftest import WEEK

FRIDAY = WEEK[-1]
FEATURES = ["RSI", "ADX", "Recommend.All", "Perf.W"]
WEIGHTS = np.array([0.5, -0.25, 8.0, 1.0])


@pytest.fixture(autouse=True)
def now_is_friday_evening(at):
    at(FRIDAY)


@pytest.fixture(scope="module")
def made(week: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A panel of the week's snapshots."""
    place = tmp_path_factory.mktemp("panel") / "panel.parquet"
    schedule = Schedule(date(2021, 4, 12), date(2021, 4, 16), at=WEEK[0].time())
    names = tuple(f"tv_technicals_1d:{name}" for name in FEATURES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_NOW", FRIDAY.isoformat())
        write_panel(week, PanelRequest(schedule, place, features=names))
    return place


def booster(made: Path, names: list[str], **parameters: object) -> lightgbm.Booster:
    rows = pq.read_table(made).to_pandas()
    inputs = rows[names].to_numpy()
    target = rows["RSI"].to_numpy() - 2 * rows["ADX"].to_numpy()
    if "num_class" in parameters:
        target = np.arange(len(rows)) % 3
    data = lightgbm.Dataset(inputs, target, feature_name=names)
    settings = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, **parameters}
    return lightgbm.train(settings, data, num_boost_round=20)


@pytest.fixture
def trained(made: Path, tmp_path: Path) -> Path:
    """LightGBM's own file of a model of all the panel's features, its metadata beside it."""
    place = tmp_path / "rank.txt"
    booster(made, FEATURES).save_model(place)
    shutil.copy(f"{made}.json", f"{place}.json")
    return place


def linear(place: Path, names: list[str], *, listed: object = None, one: bool = True) -> Path:
    """Write an ONNX model that is a weighted sum: of one matrix, or of one column per input."""
    count = len(names)
    weights = helper.make_tensor(
        "weights", TensorProto.FLOAT, [count, 1], WEIGHTS[:count].astype(np.float32)
    )
    columns = {"matrix": count} if one else dict.fromkeys(names, 1)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in columns.items()
    ]
    nodes = [] if one else [helper.make_node("Concat", names, ["matrix"], axis=1)]
    nodes.append(helper.make_node("MatMul", ["matrix", "weights"], ["out"]))
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph(nodes, "linear", inputs, [out], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    if listed is not None:
        helper.set_model_props(model, {"feature_names": json.dumps(listed)})
    onnx.save(model, place)
    return place


def matrix(selection: Selection) -> np.ndarray:
    return np.array([[row.features[name] for name in FEATURES] for row in selection.rows], float)


def scores(selection: Selection) -> list[float]:
    return [row.features["score"] for row in selection.rows]


def test_rows_are_ranked_by_the_models_own_scores(week: Project, trained: Path):
    selection = select(week, SelectRequest(model=trained, top=None))
    by_rsi = select(week, SelectRequest(by="RSI", top=None))
    expected = lightgbm.Booster(model_file=trained).predict(matrix(by_rsi))
    of = dict(zip([row.symbol for row in by_rsi.rows], expected.tolist(), strict=True))
    assert len(set(of.values())) > 10
    assert [(row.symbol, row.features["score"]) for row in selection.rows] == sorted(
        of.items(), key=lambda each: (-each[1], each[0])
    )
    assert (selection.by, selection.features[0], selection.shown[0]) == ("score",) * 3
    told = json.loads(Path(f"{trained}.json").read_text())
    assert selection.model is not None
    assert selection.model == ("rank.txt", "LightGBM", 4, told["fingerprint"]["rows"])


def test_what_was_known_at_an_instant_is_scored_too(week: Project, trained: Path):
    now = select(week, SelectRequest(model=trained, top=5))
    then = select(week, SelectRequest(model=trained, top=5, as_of=FRIDAY))
    assert then.source == "offline store"
    assert [row.symbol for row in now.rows] == [row.symbol for row in then.rows]
    assert scores(now) == scores(then)


@pytest.mark.parametrize("one", [True, False])
def test_an_onnx_model_of_one_matrix_or_of_named_columns(
    week: Project, made: Path, tmp_path: Path, one: bool
):
    place = linear(tmp_path / "sum.onnx", FEATURES, listed=FEATURES if one else None, one=one)
    selection = select(week, SelectRequest(model=place, trained_on=made, top=None))
    expected = matrix(selection).astype(np.float32).astype(float) @ WEIGHTS
    np.testing.assert_allclose(scores(selection), expected, rtol=1e-5)
    assert scores(selection) == sorted(scores(selection), reverse=True)
    assert selection.model is not None
    assert selection.model.kind == "ONNX"


def test_the_training_set_may_be_named_by_either_of_its_files(
    week: Project, made: Path, tmp_path: Path
):
    place = tmp_path / "rank.txt"
    booster(made, FEATURES[1:3]).save_model(place)  # some of the set's features will do
    found = [
        scores(select(week, SelectRequest(model=place, trained_on=each)))
        for each in (made, Path(f"{made}.json"))
    ]
    assert found[0] == found[1] != []


def test_the_command_names_the_model_and_fails_with_one_line(
    week: Project, trained: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TVFEAST_PROJECT", str(week.folder))

    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["select", "--model", str(trained), *words])

    done = run("--top", "2")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert lines[0].split()[:3] == ["#", "symbol", "score"]
    assert "2 of 60 symbols by score of rank.txt (LightGBM, 4 features)" in lines[-1]
    both = run("--by", "RSI")
    assert isinstance(both.exception, InputError)
    assert "(--by) or a model (--model), not both" in str(both.exception)
    Path(f"{trained}.json").unlink()
    without = run()
    assert "rank.txt has no metadata of its training set: copy the set's" in str(without.exception)


def test_inputs_are_those_of_the_training_set_in_its_order(
    week: Project, made: Path, tmp_path: Path
):
    def refusal(names: list[str], listed: object = None) -> str:
        place = linear(tmp_path / "sum.onnx", names, listed=names if listed is None else listed)
        with pytest.raises(InputError) as refused:
            select(week, SelectRequest(model=place, trained_on=made))
        return str(refused.value)

    assert "takes CCI20, which its training set does not have" in refusal(["RSI", "CCI20"])
    turned = refusal(["ADX", "RSI"])
    assert "another order than its training set has them: its input 1 is ADX, the set's" in turned
    assert "takes one feature twice" in refusal(["RSI", "RSI"])
    assert "feature_names in its metadata is no JSON list of texts" in refusal(["RSI"], [1])
    place = linear(tmp_path / "unnamed.onnx", FEATURES)
    with pytest.raises(InputError, match="one input without names for its columns"):
        select(week, SelectRequest(model=place, trained_on=made))


def test_a_feature_that_means_something_else_by_now_is_refused(week: Project, trained: Path):
    beside = Path(f"{trained}.json")
    told = json.loads(beside.read_text())
    told["features"][1]["sha256"] = "0" * 64
    beside.write_text(json.dumps(told))
    with pytest.raises(InputError, match=r"trained on another definition of ADX: train it again"):
        select(week, SelectRequest(model=trained))
    told["features"][1] |= {"group": "gone_1d"}
    beside.write_text(json.dumps(told))
    with pytest.raises(InputError, match=r"takes gone_1d:ADX, which the catalog does not have"):
        select(week, SelectRequest(model=trained))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("rank.txt", None, "No such file"),
        ("rank.pkl", pickle.dumps([1]), "a pickle is never read"),
        ("rank.onnx", b"\x80\x04pickled", "rank.onnx cannot be read"),
        ("rank.onnx", b"", "rank.onnx cannot be read"),
        ("rank.txt", b"tree\nversion=v4\n", "rank.txt cannot be read"),
        ("rank.txt", b"a note", "is no model"),
    ],
)
def test_what_is_no_model_is_told_in_one_line(
    week: Project, made: Path, tmp_path: Path, name: str, content: bytes | None, told: str
):
    place = tmp_path / name
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(InputError, match=told):
        select(week, SelectRequest(model=place, trained_on=made))


@pytest.mark.parametrize("content", ["[]", "{}", '{"features": [{}]}', "no", '{"features": 1}'])
def test_metadata_that_is_none_is_told_in_one_line(week: Project, trained: Path, content: str):
    Path(f"{trained}.json").write_text(content)
    with pytest.raises(InputError, match=r"rank\.txt\.json (does not say|cannot be read)"):
        select(week, SelectRequest(model=trained))


def test_a_model_of_several_scores_is_refused(week: Project, made: Path, tmp_path: Path):
    place = tmp_path / "classes.txt"
    booster(made, FEATURES, objective="multiclass", num_class=3).save_model(place)
    with pytest.raises(InputError, match="gives 3 values per symbol, and a ranking needs one"):
        select(week, SelectRequest(model=place, trained_on=made))


def test_a_symbol_without_any_input_has_no_score(
    week: Project, trained: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of three symbols without values one has them all, one has one, and one has none."""
    from ingestion.jobs.serve import ranking as job

    read = job.served_rows

    def served(*given):
        rows = read(*given)
        features = dict(rows.features)
        for at, name in enumerate(FEATURES):
            keep = np.ones(len(rows.symbols), dtype=bool)
            keep[0], keep[1] = False, at == 0
            features[name] = features[name].where(keep)
        return rows._replace(features=features)

    monkeypatch.setattr(job, "served_rows", served)
    selection = select(week, SelectRequest(model=trained, top=None))
    assert selection.left_out == {"no_value": 1}
    assert len(selection.rows) == 59
    (partly,) = [row for row in selection.rows if row.features["ADX"] is None]
    expected = lightgbm.Booster(model_file=trained).predict(
        [[partly.features["RSI"], np.nan, np.nan, np.nan]]
    )
    assert partly.features["score"] == expected[0]
