"""Glyphs of the digits: strokes in a box of width and height 1, with y downwards, at least three glyphs per digit.

A stroke is a list of control points of a quadratic B-spline, as in TrueType: the curve starts at the first point, ends
at the last, bends towards those between, and passes halfway between neighbors. A point that is repeated is a corner. A
closed stroke has no ends: the four corners of a rectangle give an oval in it.
"""

from __future__ import annotations

from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Stroke:
    points: tuple[Point, ...]
    closed: bool = False


@dataclass(frozen=True)
class Glyph:
    """Strokes, and the range of their width relative to their height. Points with equal coordinates move together."""

    strokes: tuple[Stroke, ...]
    width: tuple[float, float] = (0.5, 0.85)


def path(*points: Point) -> Stroke:
    return Stroke(points)


def oval(left: float, top: float, right: float, bottom: float) -> Stroke:
    return Stroke(((left, top), (right, top), (right, bottom), (left, bottom)), closed=True)


def corner(x: float, y: float) -> tuple[Point, Point]:
    return (x, y), (x, y)


NARROW = (0.25, 0.55)

GLYPHS: tuple[tuple[Glyph, ...], ...] = (
    (  # 0: an oval, one drawn in a stroke that overlaps itself, one with a slash
        Glyph((oval(0, 0, 1, 1),)),
        Glyph((path((0.7, 0.08), (0.3, -0.08), (-0.1, 0.2), (0.0, 1.05), (1.0, 1.05), (1.05, -0.02), (0.4, 0.0)),)),
        Glyph((oval(0, 0, 1, 1), path((0.8, 0.18), (0.2, 0.82)))),
    ),
    (  # 1: a line, one with a flag, one with flag and foot, one with a foot
        Glyph((path((0.5, 0), (0.5, 1)),), NARROW),
        Glyph((path((0.0, 0.28), *corner(0.6, 0), (0.6, 1)),), NARROW),
        Glyph((path((0.05, 0.26), *corner(0.5, 0), (0.5, 1)), path((0, 1), (1, 1))), (0.35, 0.6)),
        Glyph((path((0.25, 0.12), *corner(0.5, 0), (0.5, 1)), path((0.1, 1), (0.9, 1))), NARROW),
    ),
    (  # 2: round with a flat foot, with a loop, with a waved foot
        Glyph((path((0.02, 0.28), (0.08, -0.05), (1.0, -0.08), (1.02, 0.42), *corner(0, 1), (1, 1)),)),
        Glyph(
            (
                path(
                    (0.08, 0.2),
                    (0.2, -0.06),
                    (1.0, -0.06),
                    (0.95, 0.5),
                    (0.3, 1.08),
                    (-0.1, 0.98),
                    (0.02, 0.72),
                    (0.4, 0.8),
                    (0.75, 1.06),
                    (1.05, 0.9),
                ),
            )
        ),
        Glyph(
            (
                path(
                    (0.0, 0.16),
                    (0.3, -0.06),
                    (1.0, 0.0),
                    (0.9, 0.4),
                    *corner(0, 1),
                    (0.45, 0.86),
                    (0.7, 1.06),
                    (1, 0.94),
                ),
            )
        ),
    ),
    (  # 3: two bowls, a flat top, a small loop in the middle
        Glyph(
            (
                path(
                    (0.03, 0.14),
                    (0.25, -0.06),
                    (1.02, -0.06),
                    (0.98, 0.46),
                    *corner(0.4, 0.47),
                    (1.12, 0.47),
                    (1.1, 1.06),
                    (0.25, 1.06),
                    (0, 0.85),
                ),
            )
        ),
        Glyph(
            (
                path(
                    (0.05, 0), *corner(0.95, 0), *corner(0.42, 0.4), (1.14, 0.38), (1.12, 1.06), (0.25, 1.06), (0, 0.86)
                ),
            )
        ),
        Glyph(
            (
                path(
                    (0.03, 0.14),
                    (0.25, -0.06),
                    (1.0, -0.06),
                    (0.95, 0.4),
                    (0.35, 0.6),
                    (0.2, 0.44),
                    (0.55, 0.4),
                    (1.15, 0.55),
                    (1.05, 1.06),
                    (0.25, 1.06),
                    (0, 0.86),
                ),
            )
        ),
    ),
    (  # 4: open, closed, open and round
        Glyph((path((0.22, 0), *corner(0.02, 0.58), (1, 0.58)), path((0.8, 0.12), (0.72, 1)))),
        Glyph((path((0.7, 0), *corner(0, 0.68), (1, 0.68)), path((0.7, 0), (0.7, 1)))),
        Glyph((path((0.1, 0.02), (-0.05, 0.62), (0.35, 0.64), (0.82, 0.5)), path((0.88, 0.0), (0.74, 1)))),
        Glyph((path((0.62, 0), *corner(0, 0.64), (0.98, 0.66)), path((0.72, 0.3), (0.68, 1)))),
    ),
    (  # 5: a bar, an upright and a bowl; one stroke; a slanted bar with a fuller bowl
        Glyph(
            (
                path(
                    (0.92, 0),
                    *corner(0.15, 0),
                    *corner(0.1, 0.44),
                    (0.45, 0.34),
                    (1.08, 0.36),
                    (1.06, 1.06),
                    (0.25, 1.06),
                    (0, 0.88),
                ),
            )
        ),
        Glyph(
            (
                path(
                    (0.98, 0.03),
                    (0.3, 0.0),
                    (0.14, 0.0),
                    (0.1, 0.42),
                    (0.16, 0.46),
                    (0.5, 0.34),
                    (1.08, 0.38),
                    (1.06, 1.06),
                    (0.3, 1.06),
                    (0, 0.9),
                ),
            )
        ),
        Glyph(
            (
                path(
                    (0.28, 0.04), *corner(0.08, 0.5), (0.35, 0.34), (1.05, 0.34), (1.1, 1.04), (0.35, 1.08), (0, 0.86)
                ),
                path((0.28, 0.04), (1.0, -0.03)),
            )
        ),
    ),
    (  # 6: a curved stem into a bowl, a straight stem against a loop, a curled top
        Glyph(
            (
                path(
                    (0.82, 0.0),
                    (0.3, 0.1),
                    (-0.06, 0.55),
                    (-0.06, 1.05),
                    (1.0, 1.06),
                    (1.04, 0.48),
                    (0.3, 0.44),
                    (0.03, 0.72),
                ),
            )
        ),
        Glyph((path((0.68, 0.0), (0.3, 0.3), (0.06, 0.66)), oval(0.02, 0.46, 0.98, 1))),
        Glyph(
            (
                path(
                    (0.95, 0.16),
                    (0.75, -0.06),
                    (0.1, -0.04),
                    (-0.04, 0.6),
                    (0.0, 1.06),
                    (0.98, 1.06),
                    (1.02, 0.48),
                    (0.25, 0.42),
                    (0.02, 0.7),
                ),
            )
        ),
    ),
    (  # 7: two lines, crossed, with a serif, with a bent stem
        Glyph((path((0, 0), *corner(1, 0), (0.35, 1)),)),
        Glyph((path((0, 0), *corner(1, 0), (0.38, 1)), path((0.28, 0.52), (0.92, 0.5)))),
        Glyph((path((0.02, 0.2), *corner(0.02, 0), *corner(1, 0), (0.4, 1)),)),
        Glyph((path((0, 0.03), *corner(1, 0), (0.42, 0.45), (0.4, 1)),)),
    ),
    (  # 8: two ovals, one line that crosses itself, one that starts at the top right and does not quite close
        Glyph((oval(0.12, 0, 0.88, 0.46), oval(0, 0.46, 1, 1))),
        Glyph(
            (
                Stroke(
                    (
                        (0.98, -0.04),
                        (0.02, -0.04),
                        (-0.02, 0.4),
                        (1.1, 0.6),
                        (1.04, 1.04),
                        (-0.04, 1.04),
                        (-0.1, 0.6),
                        (1.02, 0.4),
                    ),
                    closed=True,
                ),
            )
        ),
        Glyph(
            (
                path(
                    (0.9, 0.16),
                    (0.7, -0.06),
                    (0.0, -0.04),
                    (0.02, 0.38),
                    (1.08, 0.58),
                    (1.02, 1.05),
                    (-0.04, 1.05),
                    (-0.06, 0.62),
                    (0.7, 0.42),
                    (0.98, 0.1),
                ),
            )
        ),
    ),
    (  # 9: a loop with a straight stem, with a curved tail, with a slanted stem
        Glyph((oval(0.04, 0, 0.94, 0.5), path((0.95, 0.18), (0.9, 1)))),
        Glyph((oval(0.04, 0, 0.94, 0.52), path((0.94, 0.16), (1.02, 0.7), (0.8, 1.08), (0.1, 0.98)))),
        Glyph((oval(0.04, 0, 0.96, 0.5), path((0.96, 0.22), (0.88, 0.5), (0.4, 1)))),
    ),
)
