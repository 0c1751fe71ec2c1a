"""A plugin file with three recipes that train on files: `zoo --plugin .../on_files.py train tone --data ./wavs`.

The modality is a default of each recipe, so that a folder of GIF files is read as clips without `--modality video`.
"""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# name -> modality, steps, summary
RECIPES = {
    "tone": ("audio", 600, "Waves by an inverse Fourier transform, with a discriminator of spectrograms"),
    "clip": ("video", 600, "Clips by transposed convolutions, with a discriminator of frames and one of clips"),
    "sentence": ("text", 400, "Text by a recurrent generator: likelihood first, then adversarial on soft tokens"),
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    for name, (modality, steps, summary) in RECIPES.items():
        yield Component(
            kind="recipe",
            name=name,
            target=f"sketch.media_families:{name}",
            summary=summary,
            defaults={"modality": modality, "batch_size": 32, "steps": steps},
        )
