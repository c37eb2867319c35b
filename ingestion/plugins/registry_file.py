"""Feast's registry file, changed wholly or not at all: ``WholeFileRegistryStore``.

In ``feature_store.yaml``, below ``registry``::

    registry_store_type: ingestion.plugins.registry_file.WholeFileRegistryStore

Feast's own store empties the file before it writes it: who reads in between, or after a full disk
or a killed process, finds nothing or half of it. This one writes beside it and renames.

Feast changes a copy of the whole registry and commits it later, after ``feast apply`` has changed
the online store. Its own store then overwrites what others have committed meanwhile; this one
refuses: every version of the file has an id, which a copy carries. (What is committed between two
changes of one ``apply``, Feast itself takes over, and forgets the first of them.)
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from uuid import uuid4

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry

from ingestion.base import clock
from ingestion.base.errors import FeastRepositoryError
from ingestion.base.locks import folder_lock


class WholeFileRegistryStore(FileRegistryStore):
    """Feast's file store; what it writes is its owner's alone to read.

    Examples
    --------
    >>> from feast.repo_config import RegistryConfig
    >>> name = "ingestion.plugins.registry_file.WholeFileRegistryStore"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "registry.db"
    ...     config = RegistryConfig(path=str(path), registry_store_type=name)
    ...     store = WholeFileRegistryStore(config, Path(folder))
    ...     store.update_registry_proto(Registry())
    ...     stored = store.get_registry_proto()
    ...     oct(path.stat().st_mode & 0o777), len(stored.version_id)
    ('0o600', 36)
    """

    def _write_registry(self, registry_proto: Registry) -> None:
        """Write a registry that was changed, over the version that it was read as.

        Raises
        ------
        FeastRepositoryError
            If the file is of another version by now.
        """
        path: Path = self._filepath
        path.parent.mkdir(parents=True, exist_ok=True)
        with folder_lock(path.parent):
            stored = self._stored()
            if stored is not None and stored.version_id != registry_proto.version_id:
                # Feast commits an empty one where it finds none; by now somebody has made it.
                is_new = not registry_proto.version_id and not registry_proto.projects
                registry_proto.CopyFrom(stored)
                if is_new:
                    return
                raise FeastRepositoryError(
                    f"{path} was changed by another command after this one had read it: "
                    "nothing of this one is registered; run it again"
                )
            made = Registry()
            made.CopyFrom(registry_proto)
            made.version_id = str(uuid4())
            made.last_updated.FromDatetime(clock.now())
            replace(path, made.SerializeToString())
            # Now that it is written: a copy that could not be is of the version that it was.
            registry_proto.version_id = made.version_id
            registry_proto.last_updated.CopyFrom(made.last_updated)

    def _stored(self) -> Registry | None:
        try:
            stored: Registry = self.get_registry_proto()
        except FileNotFoundError:
            return None
        return stored


def replace(path: Path, content: bytes) -> None:
    """Give a registry's file other content, wholly or not at all; Feast notices it.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace(Path(folder) / "registry.db", b"content")
    ...     (Path(folder) / "registry.db").read_bytes()
    b'content'
    """
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    staged = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if path.exists():
                # By a later time Feast notices that its copy is old; two writes may share a tick.
                later = max(path.stat().st_mtime_ns + 1000, os.fstat(descriptor).st_mtime_ns)
                os.utime(descriptor, ns=(later, later))
            os.fsync(descriptor)
        staged.replace(path)
    except BaseException:
        staged.unlink()
        raise
