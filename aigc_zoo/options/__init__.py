"""From a callable's signature to options, from options to a checked configuration, from that to a built recipe."""

from aigc_zoo.options.binding import bind, blame, component_options, parse_call
from aigc_zoo.options.configuration import (
    Configuration,
    build,
    options_of,
    read_file,
    resolve,
    settings_of,
    unknown_option,
)
from aigc_zoo.options.settings import RUN_SETTINGS, RunSettings
from aigc_zoo.options.values import Option

__all__ = [
    "RUN_SETTINGS",
    "Configuration",
    "Option",
    "RunSettings",
    "bind",
    "blame",
    "build",
    "component_options",
    "options_of",
    "parse_call",
    "read_file",
    "resolve",
    "settings_of",
    "unknown_option",
]
