"""Options from signatures, configurations from options, and recipes built from configurations."""

from aigc_zoo.options.binding import bind, call_options, checked_call, component_options, explain_errors, parse_call
from aigc_zoo.options.configuration import (
    Configuration,
    build,
    held,
    options_of,
    resolve,
    settings_of,
    unknown_option,
)
from aigc_zoo.options.file import read_file
from aigc_zoo.options.references import reader_of
from aigc_zoo.options.settings import RUN_SETTINGS, RunSettings
from aigc_zoo.options.values import Option

__all__ = [
    "RUN_SETTINGS",
    "Configuration",
    "Option",
    "RunSettings",
    "bind",
    "build",
    "call_options",
    "checked_call",
    "component_options",
    "explain_errors",
    "held",
    "options_of",
    "parse_call",
    "read_file",
    "reader_of",
    "resolve",
    "settings_of",
    "unknown_option",
]
