"""Feast's registry file, changed wholly or not at all: ``WholeFileRegistryStore``.

In ``feature_store.yaml``, below ``registry``::

    registry_store_type: feature_repo.stores.registry_file.WholeFileRegistryStore

Feast's own store empties the file before it writes it: who reads in between, or after a full disk
or a killed process, finds nothing or half of it. This one writes beside it and renames.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from uuid import uuid4

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry

from ingestion import clock


class WholeFileRegistryStore(FileRegistryStore):
    """Feast's file store; what it writes is its owner's alone to read."""

    def _write_registry(self, registry_proto: Registry) -> None:
        registry_proto.version_id = str(uuid4())
        registry_proto.last_updated.FromDatetime(clock.now())
        path: Path = self._filepath
        path.parent.mkdir(exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        staged = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(registry_proto.SerializeToString())
                file.flush()
                os.fsync(descriptor)
            staged.replace(path)
        except BaseException:
            staged.unlink()
            raise
