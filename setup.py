"""The list of packages; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

core = find_packages(include=["aigc_zoo", "aigc_zoo.*"])
families = [f"aigc_zoo_plugins.{name}" for name in find_packages("plugins")]
setup(packages=[*core, "aigc_zoo_plugins", *families])
