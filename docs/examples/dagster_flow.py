"""The daily flow of tvfeast as a Dagster job, one op per step.

``dagster job execute -f dagster_flow.py``; ``TVFEAST`` names the command, ``TVFEAST_CANDIDATES``
the candidates.
"""

import hashlib
import os
import subprocess
from datetime import UTC

from dagster import Failure, In, Nothing, OpExecutionContext, RetryRequested, job, op

CANDIDATES = ["--candidates", os.environ.get("TVFEAST_CANDIDATES", "portfolio_candidates.json")]
GO_ON = (0, 3, 4)  # 3: a part was refused, 4: no rows came; later steps are right all the same


def run_id_of(context: OpExecutionContext) -> str:
    """Return one id for all ops of a Dagster run, and for their retries."""
    started = context.instance.get_run_record_by_id(context.run_id).create_timestamp
    digits = hashlib.sha256(context.run_id.encode()).hexdigest()[:4]
    return started.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ-%f") + digits


def step(name: str, *options: str, good: tuple[int, ...] = GO_ON):
    """Make an op of a command of tvfeast."""

    @op(name=name.replace("-", "_"), ins={"after": In(Nothing)})
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
local_features = step("local-features")
validate = step("validate")
materialize = step("materialize", "--last", good=(0,))


@job
def tvfeast_flow() -> None:
    """Fetch, compute, check and serve: one step after another, as one run writes at a time."""
    done = data_ingest()
    for each in (meta_ingest, feature_ingest, local_features, validate, materialize):
        done = each(after=done)


if __name__ == "__main__":
    from dagster import DagsterInstance

    with DagsterInstance.ephemeral() as instance:
        raise SystemExit(not tvfeast_flow.execute_in_process(instance=instance).success)
