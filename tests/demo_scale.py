"""The demo's flow on servers of its own: ``make demo-scale``.

Starts SeaweedFS (an S3 store), Redis and PostgreSQL on loopback, and runs the demo with its
lakehouse in the first and its online store in the second. Then it runs the demo again on this
machine's disk alone, and compares what the two lakehouses have, bit for bit. It loads the same rows
into the third and into a file, and compares what all three serve with the lakehouse and with each
other; and it trains and backfills on Ray and on Spark, and compares that with what this process
makes. All servers are stopped at the end.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from ingestion.cli.checks import parity_table
from ingestion.cli.serving import selection_text
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.demo import Tables, demo
from ingestion.jobs.serve.feast_repository import own_tables
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.lakehouse import list_parts, read_file
from ingestion.plugins.online.reading import table_name
from ingestion.plugins.online.rows import Read
from ingestion.project import Project
from tests.lakehouse.s3 import BUCKET, environment
from tests.lakehouse.seaweedfs import seaweedfs
from tests.stores.online_servers import postgres_server, redis_server, short_folder

ROOT = Path(__file__).resolve().parent.parent
ENGINES = ROOT / ".venv-engines" / "bin" / "python"
LAST = "2021-04-19T21:30:00+00:00"
"""The last evening of the demo."""


def served(project: Project) -> tuple[dict[str, Any], float, int]:
    """Return all that a store has, and the sum and the number of its values."""
    features = {
        table_name("tvfeast", group.name): [column.name for column in group.served]
        for group in project.catalog.groups
    }
    found = own_tables(project).read([Read(*each) for each in features.items()])
    bits, total, count = {}, 0.0, 0
    for (table, names), rows in zip(features.items(), found, strict=True):
        bits[table] = [list(rows.keys), rows.event_us.tolist(), rows.created_us.tolist()]
        for name in names:
            values = rows.values[name]
            bits[table].append((name, values.type, values.valid.tobytes()))
            bits[table].append(
                values.to_list() if values.data.dtype == object else values.data.tobytes()
            )
            count += int(values.valid.sum())
            if values.data.dtype == np.float64:
                total += float(np.nansum(values.data[values.valid]))
    return bits, total, count


def stored(project: Project) -> dict[str, pa.Table]:
    """Return all rows of all parts, in their order, by dataset."""
    lakehouse = project.lakehouse
    found = {each.name: list_parts(lakehouse, each) for each in project.catalog.datasets}
    return {
        name: pa.concat_tables(read_file(part).replace_schema_metadata() for part in parts)
        for name, parts in found.items()
        if parts
    }


def differs(project: Project, other: Project) -> bool:
    """Print what two lakehouses have, by dataset, with the sum of all numbers of all columns."""
    is_other = False
    one, two = stored(project), stored(other)
    for name in sorted({*one, *two}):
        same = name in one and name in two and one[name].equals(two[name])
        is_other |= not same
        rows, total = one.get(name, two.get(name)), 0.0
        for column in rows.columns:
            if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
                total += pc.sum(column.cast(pa.float64()), min_count=0).as_py()
        print(
            f"  {name:20} {rows.num_rows:7,} rows, {rows.num_columns:2} columns, "
            f"sum {total:.15g}, {'equal to' if same else 'OTHERWISE THAN'} the local one"
        )
    for each in (project, other):
        report = check_lakehouse(each)
        is_other |= bool(report.faults)
        print(f"  verify: {report.parts} parts, {report.rows:,} rows, {len(report.faults)} faults")
    return is_other


def beside(project: Project, folder: Path, online_store: dict[str, Any]) -> Project:
    """Make a project on the same lakehouse with another online store, and load it."""
    shutil.copytree(project.feast_repository, folder / "feature_repo")
    file = folder / "feature_repo" / "feature_store.yaml"
    file.write_text(
        yaml.safe_dump(yaml.safe_load(file.read_text()) | {"online_store": online_store})
    )
    os.environ["TVFEAST_PROJECT"] = str(folder)
    other = Project.from_environment()
    materialize(other)
    return other


def trained_on(engine: str, project: Project, folder: Path, staging: str) -> bool:
    """Train and backfill on an engine; return whether that makes what the project has already."""
    shutil.copytree(project.feast_repository, folder / engine / "feature_repo")
    file = folder / engine / "feature_repo" / "feature_store.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["offline_store"] |= {
        "executor": engine, "rows_per_task": 4000, "staging_location": staging
    }  # fmt: skip
    file.write_text(yaml.safe_dump(settings))
    made = pq.read_table(project.folder / "training_set.parquet")
    service = project.catalog.default_service("target").name
    labels, out = folder / "labels.parquet", folder / f"{engine}.parquet"
    pq.write_table(made.select(["symbol", "event_timestamp"]), labels)

    def run(*words: str) -> dict[str, Any]:
        environment = os.environ | {
            "TVFEAST_PROJECT": str(folder / engine),
            "TVFEAST_LAKEHOUSE": str(project.lakehouse),
            "TVFEAST_NOW": LAST,
        }
        done = subprocess.run(
            [str(ENGINES), "-m", "ingestion.cli", *words, "--json"],
            env=environment, cwd=ROOT, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    begin = time.monotonic()
    run("training-set", "--labels", str(labels), "--service", service, "--out", str(out))
    filled = run("backfill", "--from", "1990-01-01", "--to", "2100-01-01")
    again = pq.read_table(out)
    same = again.equals(made.select(again.column_names)) and not filled["rows_written"]
    print(
        f"  {engine:10} {again.num_rows:,} rows to train on, {filled['rows_unchanged']:,} rows of "
        f"features computed again, {'equal to' if same else 'OTHERWISE THAN'} this process's, "
        f"{time.monotonic() - begin:.0f} s"
    )
    return same


def main() -> None:
    """Run it; exit code 1 if two stores or engines differ, or one differs from the lakehouse."""
    wide = "ingestion.plugins.wide_"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = stack.enter_context(seaweedfs(stack.enter_context(short_folder())))
        url = stack.enter_context(redis_server(stack.enter_context(short_folder())))
        conninfo = stack.enter_context(postgres_server())
        os.environ |= environment(address)
        lakehouse = f"s3://{BUCKET}/demo"
        print(f"lakehouse: {lakehouse} at {address} (SeaweedFS)\nonline store: {url}\n")
        at_redis = {"type": f"{wide}redis.WideRedisOnlineStore", "url": url}
        demo(
            folder / "demo", ROOT / "data" / "sample", print, Tables(parity_table, selection_text),
            lakehouse=lakehouse, online_store=at_redis,
        )  # fmt: skip
        os.environ |= {"TVFEAST_LAKEHOUSE": lakehouse, "TVFEAST_NOW": LAST}
        os.environ["TVFEAST_PROJECT"] = str(folder / "demo")
        project = Project.from_environment()
        print("\nThe lakehouse, compared with that of the same demo on this machine's disk:")
        demo(
            folder / "local", ROOT / "data" / "sample", lambda _: None,
            Tables(parity_table, selection_text),
        )  # fmt: skip
        at_home = replace(
            project, folder=folder / "local", lakehouse_at=folder / "local" / "data" / "lakehouse"
        )
        failed = differs(project, at_home)
        projects = {
            "Redis": project,
            "PostgreSQL": beside(
                project, folder / "postgres",
                {"type": f"{wide}postgres.WidePostgresOnlineStore", "conninfo": conninfo},
            ),
            "a file": beside(
                project, folder / "file",
                {"type": f"{wide}sqlite.WideSqliteOnlineStore", "path": str(folder / "online.db")},
            ),
        }  # fmt: skip
        print("\nWhat is served, compared with the lakehouse bit for bit, and its values' sum:")
        first = served(project)
        ranked = select(project, SelectRequest(by="RSI", top=5)).rows
        for name, each in projects.items():
            report, found = verify_online(each), served(each)
            same = (
                found[0] == first[0] and select(each, SelectRequest(by="RSI", top=5)).rows == ranked
            )
            failed |= not (same and report.passed)
            symbols = sum(view.symbols for view in report.views)
            print(
                f"  {name:10} {symbols:4} rows, {found[2]:,} values, sum {found[1]:.10g}, "
                f"{report.different} differences from the lakehouse, "
                f"{'equal to' if same else 'OTHERWISE THAN'} Redis"
            )
        print("\nTrained and backfilled by tasks of an engine:")
        for engine in ("ray", "spark"):
            if engine == "spark" and shutil.which("java") is None:
                print("  spark      not tried: it needs Java")
                continue
            failed |= not trained_on(engine, project, folder, f"s3://{BUCKET}/staging")
    sys.exit(failed)


if __name__ == "__main__":
    main()
