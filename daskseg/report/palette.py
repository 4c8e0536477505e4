"""Colours of the report: one fixed colour per segment id, and the two heat scales.

Covers: segment colours, heat-map colours, the readable ink on any of them.
Does not cover: the colours of the page itself (report.css).
See also: daskseg.report.figures.
"""

from __future__ import annotations

__all__ = ["contrast", "diverging", "ink_on", "segment_colour", "sequential"]

#: Mid-tones in the hue order of Okabe and Ito, then twelve more. Each has a contrast of at
#: least 3:1 against the light and the dark page, so that one colour serves both schemes.
SEGMENT_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009073",
    "#c0609a",
    "#a87a00",
    "#3a93d0",
    "#7c8500",
    "#8d63c4",
    "#b0503c",
    "#4a7f9c",
    "#5f9339",
    "#cf5672",
    "#6f7fd0",
    "#9b7050",
    "#1d979b",
    "#b065c4",
    "#788088",
    "#c46a2e",
    "#3f7f5a",
    "#d0508f",
)
#: For members of no segment (id "S0").
NOISE_COLOUR = "#788088"
#: Heat colours: far below, far above, share of a whole, no number. Blue and orange stay
#: apart for every common colour vision.
HEAT_LOW = "#2f7fc4"
HEAT_HIGH = "#d9731a"
HEAT_SHARE = "#16897b"
HEAT_NONE = "#788088"
#: The strongest heat is this opaque: the ink of the page, dark or light, stays readable on it.
HEAT_OPACITY = 0.66
#: The weakest heat is this opaque: the cell stays visible.
HEAT_FLOOR = 0.06
DARK_INK = "#000000"
LIGHT_INK = "#ffffff"


def segment_colour(segment_id: str) -> str:
    """Return the colour of a segment, bound to its id and not to its rank.

    Parameters
    ----------
    segment_id : str
        ``"S1"``, ``"S2"``, ...; any other text gets a colour too.

    Returns
    -------
    str
        ``"#rrggbb"``. The first 20 ids have 20 colours; later ids repeat them.

    Examples
    --------
    >>> segment_colour("S1")
    '#0072b2'
    """
    number = segment_id[1:]
    if number.isdecimal() and number.isascii():
        if int(number) == 0:
            return NOISE_COLOUR
        return SEGMENT_COLOURS[(int(number) - 1) % len(SEGMENT_COLOURS)]
    return SEGMENT_COLOURS[sum(segment_id.encode()) % len(SEGMENT_COLOURS)]


def diverging(level: float | None) -> tuple[str, float]:
    """Return colour and opacity of ``level`` in [-1, 1]: 0 is neutral, beyond is capped."""
    if level is None:
        return HEAT_NONE, 2 * HEAT_FLOOR
    return (HEAT_LOW if level < 0 else HEAT_HIGH), _opacity(abs(level))


def sequential(level: float | None) -> tuple[str, float]:
    """Return colour and opacity of ``level`` in [0, 1]; values beyond are capped."""
    if level is None:
        return HEAT_NONE, 2 * HEAT_FLOOR
    return HEAT_SHARE, _opacity(level)


def ink_on(colour: str) -> str:
    """Return black or white, whichever reads better on ``colour`` (at least 4.5:1)."""
    return max((LIGHT_INK, DARK_INK), key=lambda ink: contrast(ink, colour))


def contrast(first: str, second: str) -> float:
    """Return the WCAG 2 contrast ratio of two ``"#rrggbb"`` colours, from 1 to 21."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """Return the relative luminance in [0, 1], as WCAG 2 defines it."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _opacity(strength: float) -> float:
    capped = min(1.0, max(0.0, strength))
    return round(HEAT_FLOOR + (HEAT_OPACITY - HEAT_FLOOR) * capped, 4)
