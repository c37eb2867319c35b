"""The daily flow of tvfeast as a Dagster job, one op per step.

``dagster job execute -f dagster_flow.py``; ``TVFEAST`` names the command, ``TVFEAST_CANDIDATES``
the candidates, and ``TVFEAST_DAILY_SOURCES`` the bar sources of ``feature_repo/sources.toml``, if
there are any: ``binance yahoo``.
"""

import hashlib
import os
import subprocess
from datetime import UTC

from dagster import Failure, In, Nothing, OpExecutionContext, RetryRequested, job, op

CANDIDATES = ["--candidates", os.environ.get("TVFEAST_CANDIDATES", "portfolio_candidates.json")]
SOURCES = os.environ.get("TVFEAST_DAILY_SOURCES", "").split()
GO_ON = (0, 3, 4)  # 3: a part was refused, 4: no rows came; later steps are right all the same


def run_id_of(context: OpExecutionContext) -> str:
    """Return one id for all ops of a Dagster run, and for their retries."""
    started = context.instance.get_run_record_by_id(context.run_id).create_timestamp
    digits = hashlib.sha256(context.run_id.encode()).hexdigest()[:4]
    return started.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ-%f") + digits


def step(name: str, *options: str, of: str = "", good: tuple[int, ...] = GO_ON):
    """Make an op of a command of tvfeast; ``of`` distinguishes several ops of one command."""

    @op(name=f"{name}_{of}".strip("_").replace("-", "_"), ins={"after": In(Nothing)})
    def run(context: OpExecutionContext) -> None:
        command = [os.environ.get("TVFEAST", "tvfeast"), name, "--run-id", run_id_of(context)]
        done = subprocess.run(  # noqa: S603 - a command of this project
            [*command, *options], capture_output=True, text=True, check=False
        )
        context.log.info(f"{done.stdout}{done.stderr}")
        if done.returncode == 5 and "lost its lease" not in done.stderr:
            raise RetryRequested(max_retries=10, seconds_to_wait=60)  # another run is writing
        if done.returncode not in good:
            raise Failure(done.stderr.strip(), allow_retries=False)

    return run


data_ingest = step("data-ingest", *CANDIDATES)
meta_ingest = step("meta-ingest", *CANDIDATES)
feature_ingest = step("feature-ingest", *CANDIDATES)
daily_bars = [step("daily-bars", "--source", each, *CANDIDATES, of=each) for each in SOURCES]
local_features = step("local-features")
validate = step("validate")
materialize = step("materialize", "--last", good=(0,))


@job
def tvfeast_flow() -> None:
    """Fetch, compute, check and serve: one step after another, as one run writes at a time."""
    done = data_ingest()
    scanned, served = (meta_ingest, feature_ingest), (local_features, validate, materialize)
    for each in (*scanned, *daily_bars, *served):
        done = each(after=done)


if __name__ == "__main__":
    from dagster import DagsterInstance

    with DagsterInstance.ephemeral() as instance:
        raise SystemExit(not tvfeast_flow.execute_in_process(instance=instance).success)
