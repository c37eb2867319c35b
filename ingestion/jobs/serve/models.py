"""Models that score what is served: LightGBM's own files, and ONNX; never pickles.

A model is used only with the metadata of the set that it was trained on, which says what each of
its inputs means. A file of Python objects runs code when it is read, so none is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ingestion.base.errors import InputError
from ingestion.base.wording import reason_of, some_of
from ingestion.datasets.panel import by_group
from ingestion.datasets.set_file import json_beside, read_provenance
from ingestion.jobs.serve.provenance import declared, definition_hashes
from ingestion.plugins.online.layout import Values
from ingestion.project import Project

NAMES_KEY = "feature_names"
"""Of an ONNX file's metadata: the names of one input of many columns, as a JSON list."""

_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_OF_A_FEATURE = frozenset({"column", "group", "feature", "sha256"})
_EXTRA = "models need more packages: pip install 'tvfeast[models]'"

Predict = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From a matrix of shape ``(rows, inputs)`` with NaN where there is no value to ``(rows,)``."""


class ScoredBy(NamedTuple):
    """A model that a ranking has asked."""

    file: str
    kind: str
    inputs: int
    """How many features it takes."""
    trained_on: str
    """The fingerprint of its training set's rows."""


@dataclass(frozen=True)
class Model:
    """A model, and what its inputs are.

    Attributes
    ----------
    inputs
        ``GROUP:FEATURE`` of each input, in the model's order.
    trained_on
        The fingerprint of its training set's rows.
    """

    place: Path
    kind: str
    inputs: tuple[str, ...]
    trained_on: str
    predict: Predict

    @property
    def told(self) -> ScoredBy:
        """What a ranking says of it."""
        return ScoredBy(self.place.name, self.kind, len(self.inputs), self.trained_on)

    def scores(self, values: Sequence[Values]) -> Values:
        """Return one score per row; none for a row without any input, or if none is given.

        Parameters
        ----------
        values
            Of each input, in the model's order.
        """
        matrix = np.column_stack(
            [np.where(each.valid, each.data.astype(np.float64), np.nan) for each in values]
        )
        some = ~np.isnan(matrix).all(axis=1)
        found = np.full(len(matrix), np.nan)
        if some.any():
            found[some] = self.predict(matrix[some])
        is_given = np.isfinite(found)
        return Values("DOUBLE", np.where(is_given, found, 0.0), is_given)


def read_model(project: Project, place: Path, trained_on: Path | None = None) -> Model:
    """Read a model, and check its inputs against the metadata of its training set.

    Parameters
    ----------
    place
        A file of LightGBM (``Booster.save_model``) or of ONNX.
    trained_on
        The training set or panel, or the JSON file beside it; by default the file beside the
        model that is named like it with ``.json`` added, a copy of that.

    Raises
    ------
    InputError
        If the file is no such model or its package is missing, there is no metadata, an input is
        no feature of the set or not in its order, or a feature means something else by now.
    """
    names, kind, predict = _read(place)
    told = _metadata(place, trained_on)
    features = {each["column"]: each for each in told["features"]}
    _check_names(place, names, list(features))
    _check_definitions(project, place, [features[name] for name in names])
    inputs = tuple(f"{features[name]['group']}:{features[name]['feature']}" for name in names)
    return Model(place, kind, inputs, told["fingerprint"]["rows"], predict)


def _metadata(place: Path, trained_on: Path | None) -> Mapping[str, Any]:
    source = json_beside(place) if trained_on is None else trained_on
    if trained_on is None and not source.exists():
        raise InputError(
            f"{place} has no metadata of its training set: copy the set's .json file to {source}, "
            "or name the set (--trained-on)"
        )
    if source.suffix != ".json":
        told: object = read_provenance(source)
    else:
        try:
            told = json.loads(source.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{source} cannot be read: {reason_of(error)}") from None
    if not _is_provenance(told):
        raise InputError(
            f"{source} does not say where a training set comes from: copy the .json file that "
            "`tvfeast training-set` or `tvfeast panel` writes beside the set"
        )
    return told


def _is_provenance(told: object) -> TypeGuard[Mapping[str, Any]]:
    if not isinstance(told, dict) or not isinstance(told.get("features"), list):
        return False
    fingerprint = told.get("fingerprint")
    if not isinstance(fingerprint, dict) or not isinstance(fingerprint.get("rows"), str):
        return False
    return all(isinstance(each, dict) and each.keys() >= _OF_A_FEATURE for each in told["features"])


def _check_names(place: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    strange = [name for name in names if name not in columns]
    if strange:
        raise InputError(
            f"{place} takes {some_of(strange, 5)}, which its training set does not have; the set "
            f"has {some_of(columns, 5)}"
        )
    if len(set(names)) < len(names):
        raise InputError(f"{place} takes one feature twice")
    ordered = [name for name in columns if name in set(names)]
    if list(names) != ordered:
        first = next(i for i, name in enumerate(names) if name != ordered[i])
        raise InputError(
            f"{place} takes its features in another order than its training set has them: its "
            f"input {first + 1} is {names[first]}, the set's is {ordered[first]}"
        )


def _check_definitions(project: Project, place: Path, told: Sequence[Mapping[str, str]]) -> None:
    named, gone = declared(project.catalog, told)
    if gone:
        names = some_of([f"{each['group']}:{each['feature']}" for each in gone], 5)
        raise InputError(f"{place} takes {names}, which the catalog does not have")
    now = definition_hashes(project, by_group(named))
    changed = [each["column"] for each in told if now[each["column"]] != each["sha256"]]
    if changed:
        raise InputError(
            f"{place} was trained on another definition of {some_of(changed, 5)}: train it again "
            "on a set made now"
        )


def _read(place: Path) -> tuple[tuple[str, ...], str, Predict]:
    """Return a model's input names, what kind it is, and how it is asked."""
    try:
        with place.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(f"{place} cannot be read: {reason_of(error)}") from None
    if head.startswith(b"tree"):
        return _read_lightgbm(place)
    if place.suffix == ".onnx":
        return _read_onnx(place)
    raise InputError(
        f"{place} is no model: a file of LightGBM (Booster.save_model) or one that ends in .onnx "
        "is; a pickle is never read, as it may run any code"
    )


def _read_lightgbm(place: Path) -> tuple[tuple[str, ...], str, Predict]:
    try:
        import lightgbm
    except ImportError:
        raise InputError(_EXTRA) from None
    try:
        booster = lightgbm.Booster(model_file=place)
    except lightgbm.basic.LightGBMError as error:
        raise InputError(f"{place} cannot be read: {error}") from None
    if (width := booster.num_model_per_iteration()) != 1:
        raise InputError(f"{place} gives {width} values per symbol, and a ranking needs one")

    def predict(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(booster.predict(matrix), dtype=np.float64)

    return tuple(booster.feature_name()), "LightGBM", predict


def _read_onnx(place: Path) -> tuple[tuple[str, ...], str, Predict]:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(_EXTRA) from None
    try:
        session = onnxruntime.InferenceSession(place, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  (its errors share no other base)
        raise InputError(f"{place} cannot be read: {reason_of(error)}") from None
    inputs = session.get_inputs()
    if strange := [each.name for each in inputs if each.type not in _FLOATS]:
        raise InputError(f"{place}: {some_of(strange, 5)} is no tensor of floats or doubles")
    names = tuple(each.name for each in inputs)
    listed = session.get_modelmeta().custom_metadata_map.get(NAMES_KEY)
    if len(inputs) == 1 and listed is not None:
        names = _listed(place, listed)
    elif len(inputs) == 1 and inputs[0].shape[-1:] != [1]:
        raise InputError(
            f"{place} has one input without names for its columns: write them into its metadata, "
            f"as a JSON list under {NAMES_KEY}"
        )
    output = _output(place, session)

    def predict(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = [matrix] if len(inputs) == 1 else np.split(matrix, matrix.shape[1], axis=1)
        fed = {
            each.name: column.astype(_FLOATS[each.type])
            for each, column in zip(inputs, columns, strict=True)
        }
        try:
            (found,) = session.run([output], fed)
        except Exception as error:  # noqa: BLE001  (its errors share no other base)
            raise InputError(f"{place} cannot score: {reason_of(error)}") from None
        answer = np.asarray(found, dtype=np.float64).reshape(len(matrix), -1)
        if answer.shape[1] > 2:
            raise InputError(
                f"{place} gives {answer.shape[1]} values per symbol, and a ranking needs one"
            )
        return answer[:, -1]  # of the two of a binary classifier, the second class's

    return names, "ONNX", predict


def _listed(place: Path, text: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{place}: {NAMES_KEY} in its metadata is no JSON list of texts")
    return tuple(names)


def _output(place: Path, session: Any) -> str:
    """Return the name of the output that has the scores: the first one of numbers."""
    outputs = session.get_outputs()
    found = [each.name for each in outputs if each.type in _FLOATS]
    if not found:
        types = some_of([f"{each.name} ({each.type})" for each in outputs], 5)
        raise InputError(f"{place} gives no tensor of floats or doubles, but {types}")
    return str(found[0])
