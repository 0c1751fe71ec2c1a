"""Write tests/api_snapshot.json: the hooks, fields and signatures that plugins depend on; --check compares.

Within an API number names are only added, and a new parameter has a default. A breaking change needs a new number in
aigc_zoo/spec.py and an adapter for plugins of the old one.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "tests" / "api_snapshot.json"


def snapshot() -> dict[str, Any]:
    """All public names with their parameters or fields and the default of each."""
    import aigc_zoo
    from aigc_zoo import api, game, metric, modality, spec, testing, two_player
    from aigc_zoo.data import download, samples
    from aigc_zoo.options.signatures import CALLED_WITH

    found: dict[str, Any] = {
        "api": spec.API,
        "group": spec.GROUP,
        "kinds": list(spec.KINDS),
        "called_with": {kind: list(words) for kind, words in CALLED_WITH.items()},
        "hooks": {name: _parameters(getattr(spec.Hooks, name)) for name in spec.HOOKS},
    }
    modules = {
        "aigc_zoo": (aigc_zoo, [name for name in aigc_zoo.__all__ if name != "__version__"]),
        "aigc_zoo.api.Run": (api.Run, [name for name, value in vars(api.Run).items() if _is_method(name, value)]),
        "aigc_zoo.spec": (spec, ["Component", "Slot", "Range"]),
        "aigc_zoo.game": (game, [name for name in game.__all__ if _is_defined(getattr(game, name))]),
        "aigc_zoo.two_player": (two_player, ["two_player"]),
        "aigc_zoo.modality": (modality, [name for name, value in vars(modality).items() if _own(value, modality)]),
        "aigc_zoo.modality.Modality": (modality.Modality, _methods(modality.Modality)),
        "aigc_zoo.metric": (metric, [name for name, value in vars(metric).items() if _own(value, metric)]),
        "aigc_zoo.metric.View": (metric.View, _methods(metric.View)),
        "aigc_zoo.data.samples": (samples, [name for name, value in vars(samples).items() if _own(value, samples)]),
        "aigc_zoo.data.download": (download, ["fetch"]),
        "aigc_zoo.testing": (testing, testing.__all__),
    }
    found["names"] = {
        f"{path}.{name}": _fields(getattr(module, name))
        for path, (module, names) in modules.items()
        for name in sorted(names)
        if callable(getattr(module, name))
    }
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _methods(owner: type) -> list[str]:
    """The public methods that a class defines."""
    return [name for name, value in vars(owner).items() if _is_method(name, value)]


def _is_method(name: str, value: Any) -> bool:
    return inspect.isfunction(value) and not name.startswith("_")


def _is_defined(value: Any) -> bool:
    """Whether a value is a function or class of the package; type aliases such as `Loss` are not."""
    return callable(value) and getattr(value, "__module__", "").startswith("aigc_zoo.")


def _own(value: Any, module: Any) -> bool:
    """Whether a public function or class is defined in this module."""
    return (
        callable(value) and getattr(value, "__module__", "") == module.__name__ and not value.__name__.startswith("_")
    )


def _fields(value: Any) -> dict[str, str]:
    """The fields of a dataclass or named tuple, or the parameters of a function or class, with their defaults."""
    if dataclasses.is_dataclass(value):
        return {field.name: _default(field) for field in dataclasses.fields(value)}
    if isinstance(value, type) and hasattr(value, "_fields"):
        defaults = value._field_defaults
        return {name: _shown(defaults[name]) if name in defaults else "needed" for name in value._fields}
    if getattr(value, "_is_protocol", False):
        return dict.fromkeys(value.__annotations__, "needed")
    if isinstance(value, type) and issubclass(value, BaseException):
        return {}
    return _parameters(value) | (_attributes(value) if isinstance(value, type) else {})


def _attributes(owner: type) -> dict[str, str]:
    """Public attributes and properties of a class, such as the suffixes of a modality."""
    return {
        name: "a property" if isinstance(value, property) else _shown(value)
        for name, value in vars(owner).items()
        if not name.startswith("_") and not callable(value)
    }


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return _shown(field.default)
    return "needed" if field.default_factory is dataclasses.MISSING else "made"


def _parameters(function: Any) -> dict[str, str]:
    return {
        ("*" if parameter.kind is parameter.KEYWORD_ONLY else "") + name: (
            "needed" if parameter.default is parameter.empty else _shown(parameter.default)
        )
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self"
    }


def _shown(value: Any) -> str:
    return value.__name__ if inspect.isroutine(value) else repr(value)


def breaks(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each change from `old` to `new` that can break a plugin."""
    yield from (f"the kind {kind} was removed" for kind in old["kinds"] if kind not in new["kinds"])
    yield from (
        f"a {kind} is called with other arguments"
        for kind in old["called_with"]
        if old["called_with"][kind] != new["called_with"].get(kind)
    )
    for group in ("hooks", "names"):
        for name, before in old[group].items():
            after = new[group].get(name)
            if after is None:
                yield f"{name} was removed"
                continue
            for parameter, default in before.items():
                if parameter not in after:
                    yield f"{name} no longer has {parameter.lstrip('*')}, or takes it in another way"
                elif after[parameter] == "needed" and default != "needed":
                    yield f"{name} now requires {parameter.lstrip('*')}"
            added = [parameter for parameter in after if parameter not in before]
            if group == "names":
                yield from (f"{name} requires {p.lstrip('*')}, which is new" for p in added if after[p] == "needed")


def stale(path: Path = PAGE) -> str:
    """Why the stored snapshot must be regenerated; an empty string if it is up to date."""
    if not path.exists():
        return f"{path.name} is missing: run `make docs`"
    old, new = json.loads(path.read_text(encoding="utf-8")), snapshot()
    broken = list(breaks(old, new))
    if broken and old["api"] == new["api"]:
        return f"API {new['api']} breaks: {'; '.join(broken)}\nrestore the old names, or raise spec.API"
    return "" if old == new else f"{path.name} is stale: run `make docs` and review what it adds"


def main(arguments: Sequence[str]) -> str | int:
    if list(arguments) not in ([], ["--check"]):
        return "usage: python tools/api_snapshot.py [--check]"
    if arguments:
        return stale() or 0
    PAGE.write_text(json.dumps(snapshot(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
