"""Runs carried out and recorded: one in its folder, or many as shards by an executor."""
