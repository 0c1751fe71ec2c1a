"""What `zoo sample RUN --help` and `zoo show` list of a recipe: its sampling options, and the inputs that it reads."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from aigc_zoo import options, plugins
from aigc_zoo.artefacts.runs import RunDirectory
from aigc_zoo.data.modalities import modality
from aigc_zoo.data.samples import spec_from
from aigc_zoo.game import Recipe, Spec
from aigc_zoo.run.generator import CALLED_WITH, LENGTH, configuration_of, read_generator, remembering
from aigc_zoo.text import with_article


class SamplingHelp(NamedTuple):
    """The id of a recipe, its sampling options, and its inputs, each with a sentence on it."""

    recipe: str
    options: list[options.Option]
    inputs: dict[str, str]


def sampling_help(catalogue: plugins.Catalogue, source: Path) -> SamplingHelp:
    """Of the recipe of a run, generator or checkpoint, or of published weights RECIPE@NAME.

    No weights are loaded or downloaded. Raises DataError, ConfigError as `load_generator` does.
    """
    reference, at, _ = str(source).rpartition("@")
    spec = None
    if source.exists() or not at:
        card = RunDirectory(source).read_card() if source.is_dir() else read_generator(source)[1]
        catalogue = remembering(catalogue, card)
        configuration = configuration_of(catalogue, card)
        spec = spec_from(card["data"]["spec"] if source.is_dir() else card["spec"])
    else:
        configuration = options.resolve(catalogue, reference, given=LENGTH, origin="python")
    recipe = options.build(catalogue, configuration)
    inputs = {name: _about(catalogue, recipe, name, spec) for name in recipe.inputs}
    return SamplingHelp(configuration.recipe, options.call_options(recipe.generate, CALLED_WITH), inputs)


def recipe_sampling_options(catalogue: plugins.Catalogue, reference: str) -> list[options.Option]:
    """The sampling options of a recipe, which is built."""
    recipe = options.build(catalogue, options.resolve(catalogue, reference, given=LENGTH, origin="python"))
    return options.call_options(recipe.generate, CALLED_WITH)


def _about(catalogue: plugins.Catalogue, recipe: Recipe, name: str, spec: Spec | None) -> str:
    """A sentence on an input: what it is, and in which size it is read."""
    specs = {} if spec is None else {recipe.imitates: spec, **spec.entries}
    if name not in specs:
        return "A file, a folder or a zip." if spec is None else "Derived from other entries: give --data."
    entry = specs[name]
    found, shape = modality(catalogue, entry.modality), "x".join(map(str, entry.shape))
    how = with_article(found.noun) + (", as a text or in a file" if found.typed else "")
    of_any = recipe.multiple and spec is not None and len(entry.shape) == len(spec.shape) > 1
    size = "of any size" if of_any else f"converted to {shape} as the training data were"
    return f"{how[0].upper()}{how[1:]}, a folder or a zip of {found.units}, {size}."
