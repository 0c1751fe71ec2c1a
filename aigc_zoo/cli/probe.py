"""Check torch and the devices in a child process, so that a crash there is reported and not fatal."""

from __future__ import annotations

import json
import subprocess
import sys

LIMIT = 300
"""Timeout of the child process in seconds."""

CODE = """
import json, sys, tempfile, time
from pathlib import Path

def report(what, state, found, fix=""):
    sys.stdout.write("\\0" + json.dumps([what, state, found, fix]) + "\\n")
    sys.stdout.flush()

import torch
from aigc_zoo.devices import name, present
devices = [name(torch.device(one)) for one in present()]
report("torch works", "ok", f"{torch.__version__}, CUDA {torch.version.cuda}, {torch.get_num_threads()} threads, "
     + ", ".join(devices))
try:
    import torch_fidelity
    report("metrics work", "ok", f"torch-fidelity {torch_fidelity.__version__}")
except Exception as error:
    report("metrics work", "fault", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
         "install the torchvision that fits torch: python -m pip install --upgrade torch torchvision")
import aigc_zoo
for device in present():
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            aigc_zoo.train("vanilla", "ring", out=Path(folder) / "run", steps=2, device=device)
            report(f"trains on {device}", "ok", f"two steps in {time.perf_counter() - start:.1f} s")
        except Exception as error:
            report(f"trains on {device}", "fault", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
                 "zoo train vanilla --data ring --steps 2 --debug shows where")
"""


def probe(code: str = CODE, limit: float = LIMIT) -> list[list[str]]:
    """Rows of (what, state, found, fix). A crash or a timeout after `limit` seconds is a row, too."""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=limit)
        output, status, errors = done.stdout, done.returncode, done.stderr
    except subprocess.TimeoutExpired as timeout:
        output = timeout.stdout.decode() if isinstance(timeout.stdout, bytes) else timeout.stdout or ""
        status, errors = 1, f"no answer within {limit:g} s"
    rows = [json.loads(line.partition("\0")[2]) for line in output.splitlines() if "\0" in line]
    if status:
        last = (errors.strip().splitlines() or [f"it ended with exit code {status}"])[-1][:300]
        rows.append(["torch works", "fault", last, "python -m pip install --upgrade torch torchvision"])
    return rows
