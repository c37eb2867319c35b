"""Jobs that only read a lakehouse: where each look is a request, they look once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from ingestion.project import Project

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def one_look(
    job: Callable[Concatenate[Project, Given], Answer],
) -> Callable[Concatenate[Project, Given], Answer]:
    """Let a job see one state of the lakehouse, as far as nobody merges its parts meanwhile.

    Of an object store it lists a dataset once, keeps small files, and fetches those of the next
    dates ahead (:meth:`~ingestion.lakehouse.Lakehouse.looking`).
    """

    @wraps(job)
    def looking(project: Project, /, *args: Given.args, **options: Given.kwargs) -> Answer:
        with project.lakehouse.looking():
            return job(project, *args, **options)

    return looking
