"""Answers in files: a task for each slice of the questions, a file for each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.errors import InputError
from ingestion.base.executors import ExecutorName, run
from ingestion.base.progress import watched
from ingestion.plugins.offline.entities import EntityRows
from ingestion.plugins.offline.files import Location
from ingestion.plugins.offline.historical import Retrieved, ViewCounts, Wanted
from ingestion.plugins.offline.lookup import Integers
from ingestion.plugins.offline.slices import DayCounts, Questions, Slice
from ingestion.plugins.offline.source import stacked
from ingestion.plugins.offline.threads import blocks_of, in_threads
from ingestion.plugins.offline.writing import files_in, scratch, write_whole

_COUNTED = 64
"""Row groups of questions that one task counts by day."""
_STAGED = 1 << 17
"""Rows of a row group of questions that are put where tasks can read them."""

Finish = Callable[[Retrieved], pa.Table]
"""Makes of an answer what its files contain."""
Counts = Mapping[str, ViewCounts]
"""How each view answered."""


@dataclass(frozen=True)
class Tasks:
    """How questions are answered by tasks."""

    executor: ExecutorName
    rows_per_task: int
    staging: Location | None
    """Where questions and answers lie on their way between this process and the tasks."""

    def answer(
        self,
        questions: Questions,
        wanted: Wanted,
        finish: Finish,
        folder: Location,
        *,
        lasting: bool = True,
    ) -> Counts:
        """Answer questions, each slice of them into a file of a folder that has none.

        Parameters
        ----------
        lasting
            Whether the files are kept.

        Raises
        ------
        InputError
            If questions or features cannot be read.
        TvfeastError
            If a task failed each time that the engine tried it.
        """
        blocks = [questions.pieces[block] for block in blocks_of(len(questions.pieces), _COUNTED)]
        counted: list[DayCounts] = []
        for some in run(self.executor, questions.days_of, blocks):
            counted += some
        slices = questions.cut(counted, self.rows_per_task)
        answer = partial(_answer, questions, wanted, finish, folder, lasting)
        answers = run(self.executor, answer, slices)
        return reduce(_together, watched(answers, "slices answered", len(slices)))

    def answer_rows(
        self, rows: EntityRows, wanted: Wanted, finish: Finish, folder: Location
    ) -> Counts:
        """Answer rows that are in memory likewise; in the files they are in the order of time.

        Raises
        ------
        InputError, TvfeastError
            As :meth:`answer`; or if there is nowhere to put the rows for the tasks.
        """
        order = np.argsort(rows.instants, kind="stable")
        return self._answer_table(rows.table(), order, rows.event, wanted, finish, folder)

    def answer_here(self, rows: EntityRows, wanted: Wanted, *, as_frame: bool) -> Retrieved:
        """Answer rows that are in memory, and bring the answers into memory, in the rows' order.

        What fits into one task is answered by this process.

        Raises
        ------
        InputError, TvfeastError
            As :meth:`answer_rows`.
        """
        if self.executor == "local" or len(rows.times) <= self.rows_per_task:
            return wanted.answer(rows, as_frame=as_frame)
        keys = {name: rows.key(name, None) for name in wanted.join_keys}
        asked = pa.table(keys | {rows.event: rows.times})
        order = np.argsort(rows.instants, kind="stable")
        with scratch(self._staged(len(order))) as folder:
            counts = self._answer_table(
                asked, order, rows.event, wanted, Retrieved.table, folder, lasting=False
            )
            parts = [
                pq.read_table(path, filesystem=folder.filesystem, columns=wanted.names)
                for path in files_in(folder)
            ]
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        answer = stacked(parts)
        columns = in_threads(partial(_taken, pa.array(place)), answer.columns)
        return Retrieved(pa.table([*columns], answer.column_names), rows, counts)

    def _answer_table(
        self,
        table: pa.Table,
        order: Integers,
        event: str,
        wanted: Wanted,
        finish: Finish,
        folder: Location,
        *,
        lasting: bool = True,
    ) -> Counts:
        with scratch(self._staged(len(order))) as staged:
            location = staged.inside("questions.parquet")
            write_whole(location, table.take(pa.array(order)), _STAGED, lasting=False)
            asked = Questions.at(location, event)
            return self.answer(asked, wanted, finish, folder, lasting=lasting)

    def _staged(self, rows: int) -> Location:
        if self.staging is None:
            raise InputError(
                f"the executor {self.executor} answers {rows:,} entity rows where its tasks can "
                "read them: set staging_location in offline_store, a folder or an address that "
                "each of its machines sees, or give entity_df as the address of Parquet files"
            )
        return self.staging


def _answer(
    questions: Questions,
    wanted: Wanted,
    finish: Finish,
    folder: Location,
    lasting: bool,
    slice_: Slice,
) -> Counts:
    """Answer one slice; to do it again writes the same file again."""
    answer = wanted.answer(questions.rows_of(slice_), as_frame=False)
    write_whole(folder.inside(f"part-{slice_.number:05d}.parquet"), finish(answer), lasting=lasting)
    return answer.counts


def _taken(places: pa.Array, column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().take(places)


def _together(some: Counts, more: Counts) -> Counts:
    return {name: each + more[name] for name, each in some.items()}
