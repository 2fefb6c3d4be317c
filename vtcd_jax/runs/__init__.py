"""Run folders and resumable work: settings, blocks, tables, events, locks, shards, progress.

Independent of any method.
"""

from .blocks import BlockStore, MemoryStore, checksum
from .config import differences, manifest, read_config
from .events import read_events
from .folder import Run, check_run, open_run
from .tables import read_csv, write_csv
from .work import WHOLE, Progress, Shard, Step, Work

__all__ = [
    "WHOLE",
    "BlockStore",
    "MemoryStore",
    "Progress",
    "Run",
    "Shard",
    "Step",
    "Work",
    "check_run",
    "checksum",
    "differences",
    "manifest",
    "open_run",
    "read_config",
    "read_csv",
    "read_events",
    "write_csv",
]
