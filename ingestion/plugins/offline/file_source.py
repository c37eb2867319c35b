"""From Feast's description of a file source to where its files lie."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from feast import FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from pyarrow import fs

from ingestion.base.errors import InputError
from ingestion.plugins.offline.files import Location


def locate(source: DataSource, repo_path: str | Path | None) -> Location:
    """Find a source's files; a relative path is relative to the repository.

    The tag ``partition_date=event_utc`` promises that each folder ``date=YYYY-MM-DD`` holds the
    rows with events of that UTC day and no others.

    Raises
    ------
    InputError
        If it is no Parquet file source, or its file system is not known.
    """
    if not isinstance(source, FileSource) or not isinstance(
        source.file_format, (ParquetFormat, type(None))
    ):
        raise InputError(
            f"{source.name} is no FileSource of Parquet files, the only one that AsofOfflineStore "
            "reads: use another offline store for it"
        )
    dated = source.tags.get("partition_date") == "event_utc"
    uri = source.path
    if not uri.startswith("file://"):
        uri = FileSource.get_uri_for_file_path(repo_path, uri)
    if "://" not in uri:
        return Location(fs.LocalFileSystem(), str(Path(uri).absolute()), dated)
    try:
        if uri.startswith("s3://"):
            filesystem, path = FileSource.create_filesystem_and_path(
                uri, source.s3_endpoint_override, source.resolve_credentials()
            )
        else:
            filesystem, path = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{source.name}: {uri} cannot be reached ({error})") from None
    return Location(filesystem, path, dated)
