"""What torch says of this machine, asked in a process of its own: what crashes there, crashes there alone."""

from __future__ import annotations

import json
import subprocess
import sys

LIMIT = 300
"""Seconds until a probe that says nothing is given up."""

ASK = """
import json, sys, tempfile, time
from pathlib import Path

def tell(what, state, found, fix=""):
    sys.stdout.write("\\0" + json.dumps([what, state, found, fix]) + "\\n")
    sys.stdout.flush()

import torch
devices = ["cpu"] + [f"cuda ({torch.cuda.get_device_name(n)})" for n in range(torch.cuda.device_count())]
tell("torch works", "ok", f"{torch.__version__}, CUDA {torch.version.cuda}, {torch.get_num_threads()} threads, "
     + ", ".join(devices))
try:
    import torch_fidelity
    tell("metrics work", "ok", f"torch-fidelity {torch_fidelity.__version__}")
except Exception as error:
    tell("metrics work", "fault", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
         "install the torchvision that fits torch: python -m pip install --upgrade torch torchvision")
import aigc_zoo
for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            aigc_zoo.train("vanilla", "ring", out=Path(folder) / "run", steps=2, device=device)
            tell(f"trains on {device}", "ok", f"two steps in {time.perf_counter() - began:.1f} s")
        except Exception as error:
            tell(f"trains on {device}", "fault", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
                 "zoo train vanilla --data ring --steps 2 --debug shows where")
"""


def probe(code: str = ASK, limit: float = LIMIT) -> list[list[str]]:
    """Rows of (what, state, found, fix); whatever ends the process early is a row, too."""
    try:
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=limit)
        said, code_, complaint = ran.stdout, ran.returncode, ran.stderr
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        code_, complaint = 1, f"no answer within {limit:g} s"
    rows = [json.loads(line.partition("\0")[2]) for line in said.splitlines() if "\0" in line]
    if code_:
        last = (complaint.strip().splitlines() or [f"it ended with {code_}"])[-1][:300]
        rows.append(["torch works", "fault", last, "python -m pip install --upgrade torch torchvision"])
    return rows
