"""The daily flow, a module a job.

Each job is a function from settings and a request to a result; it prints nothing. The command
line (:mod:`ingestion.cli`) turns results into text or JSON. Jobs that need Feast import it when
they run: it takes seconds.
"""
