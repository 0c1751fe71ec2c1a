"""A plugin-based model zoo of generative adversarial networks. Importing it does not import torch."""

from typing import Any

__version__ = "0.1.0"

__all__ = ["__version__", "create", "list_models", "load_run", "train"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from aigc_zoo import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
