"""What Feast serves: registry, online store, training sets, selection."""
