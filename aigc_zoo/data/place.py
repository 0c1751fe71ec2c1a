"""The cache folder for downloads and decoded data. Imports nothing heavy, as `zoo doctor` uses it too."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """`$ZOO_CACHE`, otherwise the cache folder that the system gives the user. It need not exist."""
    chosen = os.environ.get("ZOO_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("aigc_zoo")
