"""Where downloads and decoded data are kept. Imports nothing heavy: `zoo doctor` asks, too."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """`$ZOO_CACHE`, else the user's cache folder of the system. It need not exist."""
    chosen = os.environ.get("ZOO_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("aigc_zoo")
