"""Imports manifests in a process of their own, in which heavy packages such as torch cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from aigc_zoo.discovery import HEAVY
from aigc_zoo.spec import Component
from aigc_zoo.testing.checks import CheckFailed
from aigc_zoo.testing.subjects import PluginSubject, import_path

_SCRIPT = """
import json, sys, time
import aigc_zoo.spec, collections.abc, typing, dataclasses
from dataclasses import asdict
from importlib import import_module, util

class Blocked:
    requested = []

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in heavy:
            self.requested.append(top)
            raise ImportError(f"a manifest must not import {name}")

heavy, names, out = set(json.loads(sys.argv[1])), json.loads(sys.argv[2]), sys.stdout
sys.stdout = sys.stderr
sys.meta_path.insert(0, Blocked())
answer = {"error": "", "first": [], "second": []}
start = time.process_time()
try:
    for name in names:
        if name.endswith(".py"):
            spec = util.spec_from_file_location("zoo_local_checked", name)
            module = sys.modules[spec.name] = util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = import_module(name)
        answer["first"] += [asdict(one) for one in module.zoo_components()]
    answer["ms"] = (time.process_time() - start) * 1e3
    for name in names:
        module = sys.modules["zoo_local_checked" if name.endswith(".py") else name]
        answer["second"] += [asdict(one) for one in module.zoo_components()]
except BaseException as error:
    answer["error"] = f"{type(error).__name__}: {error}"
    answer["ms"] = (time.process_time() - start) * 1e3
answer["requested"] = list(dict.fromkeys(Blocked.requested))
json.dump(answer, out)
"""


def imported_alone(plugin: PluginSubject, attempt: int = 0) -> dict[str, Any]:
    """The result of importing a plugin's manifests in a new process; it is cached for each `attempt`.

    `requested` lists the heavy packages that they tried to import, `ms` is the CPU time in milliseconds, `first` and
    `second` are the components of two calls, and `error` is the exception or empty. Raises CheckFailed if the process
    ends without an answer.
    """
    names = []
    for module in plugin.modules:
        if "zoo_components" in vars(module):
            names.append(str(module.__file__) if plugin.local else module.__name__)
    return _run(tuple(names), import_path(), attempt, blocked=not plugin.local)


@cache
def _run(names: tuple[str, ...], path: str, attempt: int, blocked: bool) -> dict[str, Any]:
    arguments = [json.dumps(sorted(HEAVY) if blocked else []), json.dumps(names)]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise CheckFailed(f"its manifest ends the process that imports it (exit code {done.returncode})") from error
    answer["first"], answer["second"] = ([_canonical(one) for one in answer[key]] for key in ("first", "second"))
    return answer


def _canonical(component: Mapping[str, Any]) -> str:
    """A component as JSON. The module name of a single file differs between processes and is replaced."""
    module, colon, attribute = component["target"].partition(":")
    target = ("local" if module.startswith("zoo_local_") else module) + colon + attribute
    return json.dumps({**component, "target": target}, sort_keys=True)


def canonical_json(component: Component) -> str:
    """A component as JSON that can be compared with those of `imported_alone`."""
    return _canonical(json.loads(json.dumps(asdict(component))))
