"""Some runs of many, carried out in this process: as one fleet, or each alone."""

from gdcli.runner.collect import ended, keep
from gdcli.runner.jobs import FOLDERS, Place, Run, Shard, Wish, clear, folder_name, why
from gdcli.runner.run_fleet import begun, matches_single
from gdcli.runner.shards import carry_out, shards_of

__all__ = [
    "FOLDERS", "Place", "Run", "Shard", "Wish", "begun", "carry_out", "clear", "ended", "folder_name", "keep",
    "matches_single", "shards_of", "why",
]  # fmt: skip
