"""What is computed from the lakehouse's own bars, and its comparison with what was served."""
