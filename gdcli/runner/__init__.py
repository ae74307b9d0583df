"""Some runs of many, carried out in this process: as one fleet, or each alone."""

from gdcli.runner.collect import ended, save_partial
from gdcli.runner.jobs import FOLDERS, Capture, Layout, Run, Shard, clear, folder_name, why
from gdcli.runner.run_fleet import begun, matches_single
from gdcli.runner.shards import run_shard, shards_of

__all__ = [
    "FOLDERS",
    "Capture",
    "Layout",
    "Run",
    "Shard",
    "begun",
    "clear",
    "ended",
    "folder_name",
    "matches_single",
    "run_shard",
    "save_partial",
    "shards_of",
    "why",
]  # fmt: skip
