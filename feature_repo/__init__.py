"""The Feast repository: what ``feast apply`` reads, and the former class paths (``stores``)."""
