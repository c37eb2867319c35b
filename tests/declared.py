"""The shipped catalog, for tests that name its groups."""

from ingestion.catalog import DATASETS as OTHER_DATASETS
from ingestion.project import Project

CATALOG = Project.from_environment().catalog
GROUPS = CATALOG.groups
DATASETS = (*GROUPS, *OTHER_DATASETS)
"""Those of a project that chooses no further groups."""
BY_CHOICE = {group.name: group for group in CATALOG.others}
"""The shipped groups that a project may choose, by name."""
TV_TECHNICALS_1D = CATALOG.group("tv_technicals_1d")
LOCAL_1D = CATALOG.group("local_1d")
