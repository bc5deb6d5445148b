"""Scenarios, workloads, the catalogue of known bugs, artifacts, and the command line."""
