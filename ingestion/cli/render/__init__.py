"""Results as people (``…_text``) and machines (``…_document``) read them.

A module a kind of job.
"""
