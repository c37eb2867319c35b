"""A project of one's own: what `tvfeast init` makes works, by the commands that it names."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from ingestion.base.errors import InputError
from ingestion.base.settings import project_folder
from ingestion.cli.commands import cli
from ingestion.project import Project
from tests.conftest import MONDAY, SAMPLE


def init(folder: Path) -> Result:
    return CliRunner().invoke(cli, ["init", str(folder)])


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_the_commands_that_init_names_work_in_processes_of_their_own(tmp_path: Path):
    """The lines for the recorded bars, as they are printed, in a shell; the port is another one."""
    made = init(tmp_path / "mine")
    assert made.exit_code == 0
    lines = made.stdout.partition("… or try it")[2].splitlines()[1:]
    bars = pq.read_table(SAMPLE / "bars.parquet")
    opened, now = pc.field("timestamp"), MONDAY.timestamp()
    recent = (opened > now - 60 * 86_400) & (opened < now - 86_400)
    own = bars.filter(recent & pc.field("symbol").isin(["NASDAQ:AAPL", "NYSE:KO", "NYSE:XOM"]))
    pq.write_table(own, tmp_path / "bars.parquet")
    port = str(free_port())
    script = "\n".join(lines).replace("8787", port).replace("  kill %1", "")
    script = script.replace(str(SAMPLE / "bars.parquet"), str(tmp_path / "bars.parquet"))
    script = script.replace("replay-scanner &", f"replay-scanner --port {port} &")
    script = script.replace("tvfeast import-bars", "sleep 2; tvfeast import-bars")
    shell = f'set -e; trap "kill %1" EXIT\n{script}'
    program = Path(sys.executable).parent
    path = f"{program}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [shutil.which("bash") or "", "-c", shell],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PATH": path},
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert done.returncode == 0, done.stderr
    assert "5 of 7 symbols by Recommend.All" in done.stdout
    assert "3 of 7 symbols by gap, my_gaps_1d" in done.stdout
    assert (tmp_path / "mine" / "data" / "online.db").stat().st_size > 0


def test_what_is_there_is_not_overwritten(tmp_path: Path):
    (tmp_path / "README.md").write_text("mine")
    refused = init(tmp_path)
    assert isinstance(refused.exception, Exception)
    assert "README.md already" in str(refused.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_project_is_made_once(tmp_path: Path):
    assert init(tmp_path / "p").exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "p").rglob("*") if path.is_file()}
    assert "is not overwritten" in str(init(tmp_path / "p").exception)
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("folder", ["p", "data/p", "feature_repo/p"])
def test_a_project_is_not_made_inside_another_one(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
):
    outer = tmp_path / "outer"
    init(outer)
    before = sorted(outer.rglob("*"))
    monkeypatch.chdir(outer)
    refused = CliRunner().invoke(cli, ["init", folder])
    assert isinstance(refused.exception, InputError)
    assert f"{outer / folder} is inside the project {outer}" in str(refused.exception)
    assert f"as {tmp_path / 'p'};" in str(refused.exception)
    assert sorted(outer.rglob("*")) == before
    (tmp_path / "p").mkdir()
    assert init(tmp_path / "p").exit_code == 0
    # The way that the message names: a project may be moved.
    (tmp_path / "p").rename(outer / "p")
    monkeypatch.chdir(outer / "p")
    assert project_folder() == (outer / "p", "the working folder")


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "file").touch()
    assert "is a file" in str(init(tmp_path / "file").exception)


def test_a_folder_with_other_files_becomes_a_project(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    assert init(tmp_path).exit_code == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_whoever_works_in_the_folder_or_below_it_works_on_that_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    init(tmp_path / "p")
    for folder in ("p", "p/feature_repo/groups", "p/data"):
        monkeypatch.chdir(tmp_path / folder)
        assert project_folder() == (tmp_path / "p", "the working folder")
    project = Project.from_environment()
    assert project.lakehouse_at == tmp_path / "p" / "data" / "lakehouse"
    assert "my_gaps_1d" in [group.name for group in project.catalog.computed]
    monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path))
    assert project_folder() == (tmp_path, "TVFEAST_PROJECT")


def test_elsewhere_the_project_is_that_which_tvfeast_runs_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    checkout = Path(__file__).resolve().parent.parent
    assert project_folder() == (checkout, "the folder that tvfeast runs from")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert project_folder()[0] == checkout
