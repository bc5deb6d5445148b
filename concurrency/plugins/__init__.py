"""pytest and hypothesis."""
