"""Ten GAN families written with `aigc_zoo.game`: tiny networks, but the losses and schedules of the papers."""

from __future__ import annotations

from collections.abc import Callable

from sketch.components import Family
from sketch.image_families import infogan, multiscale, r3gan, stylegan2, wgan_gp
from sketch.other_families import audio, cyclegan, pix2pix, text, video

FAMILIES: dict[str, Callable[[], Family]] = {
    family.__name__: family
    for family in (wgan_gp, cyclegan, pix2pix, infogan, stylegan2, text, video, audio, r3gan, multiscale)
}
