"""The examples; ``make test-docs`` runs them whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
SHORTER = {
    "backfill --from 2020-01-01": "backfill --from 2020-12-01",
    "--from 2020-07-01": "--from 2021-01-04",
    "n_splits=6": "n_splits=3",
    "num_boost_round=50": "num_boost_round=5",
}


def code(place: Path) -> str:
    """Return the code of a notebook."""
    cells = json.loads(place.read_text())["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


@pytest.mark.parametrize("place", NOTEBOOKS, ids=lambda place: place.stem)
def test_a_notebook_is_kept_without_what_it_prints(place: Path):
    for cell in json.loads(place.read_text())["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_a_model_is_trained_and_asked_on_four_months(tmp_path: Path):
    script = code(EXAMPLES / "train_and_select.ipynb")
    for long, short in SHORTER.items():
        assert long in script
        script = script.replace(long, short)
    (tmp_path / "notebook.py").write_text(script)
    environment = {**os.environ, "MPLBACKEND": "Agg", "TMPDIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "notebook.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "5 of 60 symbols by score of rank.txt (LightGBM, 17 features)" in ended.stdout
