"""Some runs of many, carried out in this process: as one fleet, or each alone."""

from gdcli.shards.carry import carry_out, shards_of
from gdcli.shards.kept import ended, keep
from gdcli.shards.runs import FOLDERS, Place, Run, Shard, Wish, clear, folder_name, why
from gdcli.shards.together import begun, matches_single

__all__ = [
    "FOLDERS", "Place", "Run", "Shard", "Wish", "begun", "carry_out", "clear", "ended", "folder_name", "keep",
    "matches_single", "shards_of", "why",
]  # fmt: skip
