"""Ten families in the vocabulary of the game: the test that its cut is right. Tiny, faithful in their mechanics."""

from __future__ import annotations

from collections.abc import Callable

from sketch.beyond import audio, cyclegan, pix2pix, text, video
from sketch.parts import Family
from sketch.pictures import infogan, multiscale, r3gan, stylegan2, wgan_gp

FAMILIES: dict[str, Callable[[], Family]] = {
    family.__name__: family
    for family in (wgan_gp, cyclegan, pix2pix, infogan, stylegan2, text, video, audio, r3gan, multiscale)
}
