"""The named ingredients of an experiment: plain functions, one table per kind."""
