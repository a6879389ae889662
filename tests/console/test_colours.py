"""Who sees little can read it: the colours of the console keep the contrast that WCAG 2.1 asks for (1.4.3: 4.5 to 1), light and dark."""

import re

import pytest

from pipeline.app.console_html import style

PAPERS = ("paper", "band", "fine-paper", "bad-paper", "held-paper")
PAIRS = [
    *((ink, paper) for ink in ("ink", "soft", "link", "bad") for paper in PAPERS),
    ("fine", "fine-paper"),
    ("held", "held-paper"),
]


def palettes() -> list[dict[str, str]]:
    """The light one and the dark one."""
    found = [
        dict(re.findall(r"--([a-z-]+): #([0-9a-f]+);", block))
        for block in re.findall(r":root \{(.*?)\}", style(), re.DOTALL)
    ]
    assert len(found) == 2
    return found


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.1 defines it."""
    whole = colour if len(colour) == 6 else "".join(one * 2 for one in colour)
    parts = [int(whole[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_its_paper(number: int) -> None:
    palette = palettes()[number]
    for ink, paper in PAIRS:
        light, dark = sorted((luminance(palette[ink]), luminance(palette[paper])), reverse=True)
        ratio = (light + 0.05) / (dark + 0.05)
        assert ratio >= 4.5, f"{ink} on {paper}: {ratio:.2f}"


def test_nothing_is_loaded_for_it_from_anywhere() -> None:
    assert "url(" not in style()
    assert "@import" not in style()
