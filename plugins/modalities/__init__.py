"""The kinds of samples that the zoo reads, previews, writes and measures."""

from collections.abc import Iterable

from aigc_zoo.spec import Component, hookimpl

ZOO_API = 1

# name -> class of the module of that name, summary
MODALITIES = {
    "image": "Images from PNG, JPEG, WebP, BMP, GIF and TIFF files; previews are grids",
    "points": "Points in the plane from arrays; previews are scatter plots",
    "audio": "Mono sound from WAV files, with the extra [audio] also FLAC and Ogg; previews are log-mel spectrograms",
    "video": "Clips from animated GIF and PNG files, with the extra [video] also MP4; previews are filmstrips",
    "text": "Lines or windows of characters from .txt and .jsonl files; previews are pages",
    "array": "Arrays of any shape from .npy and .npz files; previews are distributions of values",
}


@hookimpl
def zoo_components() -> Iterable[Component]:
    for name, summary in MODALITIES.items():
        yield Component(kind="modality", name=name, target=f"{__name__}.{name}:{name.title()}", summary=summary)
