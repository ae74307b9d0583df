"""Fleets: many runs of one structure, trained together in one theta."""
