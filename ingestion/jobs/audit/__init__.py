"""What looks at the lakehouse: status, verification, lineage, gate, compaction."""
