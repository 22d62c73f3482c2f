"""One palette that everybody can tell apart, and figures that follow the page."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest

from hews_gpu.report.style import DARK, ID, LIGHT, RAMP_STEPS, figure, light_svg, png, ramp, role, soften, svg

TEXT = (
    "ink",
    "soft",
    "model",
    "own",
    "network",
    "stack",
    "climatology",
    "oracle",
    "target",
    "link",
    "good",
    "flat",
    "bad",
)
LINES = ("model", "own", "network", "stack", "climatology", "oracle", "base_rate", "target")


def contrast(one: str, other: str) -> float:
    """WCAG 2.1 contrast ratio (1..21) of two colors such as ``#1d1f24``."""

    def luminance(color: str) -> float:
        value = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        return float(linear @ np.array([0.2126, 0.7152, 0.0722]))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_and_white_is_21_as_wcag_defines_it():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=0.001)  # webaim.org/resources/contrastchecker


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_lines_stand_out_from_every_ground(scheme):
    for ground in ("page", "card"):
        assert min(contrast(scheme[name], scheme[ground]) for name in TEXT) >= 4.5
        assert min(contrast(scheme[name], scheme[ground]) for name in LINES) >= 3
    assert contrast(scheme["soft"], scheme["land"]) >= 3


def _seen_without(kind: str, color: str) -> np.ndarray:
    """A color as seen without red or green cones, in linear RGB (Vienot, Brettel and Mollon, 1999)."""
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]) ** 2.2
    matrix = {
        "red": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        "green": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    }[kind]
    return np.clip(np.array(matrix) @ rgb, 0, 1) ** (1 / 2.2)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("kind", ["red", "green"])
def test_model_and_climatology_differ_for_the_color_blind(scheme, kind):
    apart = _seen_without(kind, scheme["model"]) - _seen_without(kind, scheme["climatology"])
    assert np.abs(apart).max() > 0.25


@pytest.mark.parametrize(("scheme", "sign"), [(LIGHT, -1), (DARK, 1)], ids=["light", "dark"])
def test_the_count_ramp_moves_away_from_the_page_step_by_step(scheme, sign):
    lightness = [contrast(scheme[f"ramp{step}"], "#000000") for step in range(RAMP_STEPS)]
    assert np.all(np.diff(lightness) * sign > 0)


def test_both_schemes_have_the_same_roles():
    assert LIGHT.keys() == DARK.keys()


def _drawn(text="plain") -> str:
    with figure(200, 100) as drawing:
        axes = drawing.add_subplot()
        axes.plot([0, 1, 2], [0, 1, 0], "o-", color=role("model"))
        axes.set_title(text)
        axes.bar([0], [1], color=ramp()[0])
        return str(svg(drawing, f"about {text}"))


def test_colors_become_css_variables():
    text = _drawn()
    assert "var(--model)" in text and "var(--ramp0)" in text and "var(--ink)" in text
    assert "#01fe" not in text
    assert not re.search(r"(fill|stroke): #(?!0000|fff)", text)


def test_text_stays_text_in_the_font_of_the_page():
    text = _drawn(text="Plain words")
    assert ">Plain words</text>" in text
    assert "font-size: 11px" in text and "DejaVu" not in text


def test_names_in_figures_are_escaped_and_never_read_as_mathematics():
    text = _drawn(text="<script>alert($x^2$)</script>")
    assert "<script" not in text
    assert ">&lt;script&gt;alert($x^2$)&lt;/script&gt;</text>" in text


def test_every_id_begins_with_what_the_page_numbers():
    ids = re.findall(r' id="([^"]+)"', _drawn())
    assert len(ids) > 1 and all(name.startswith(ID) for name in ids)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', _drawn())) <= set(ids)


def test_a_figure_of_its_own_has_the_light_colors_and_a_ground():
    text = light_svg(svg_of := _drawn())
    assert "var(--" in svg_of and "var(--" not in text
    assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg" width="200"') and LIGHT["model"] in text
    assert f'fill="{LIGHT["card"]}"/>' in text


def test_shares_are_written_as_percent_without_needless_digits():
    with figure(200, 100) as drawing:
        axes = drawing.add_subplot()
        axes.plot([0, 1], [0, 0.1])
        soften(axes, percent="y")
        text = svg(drawing, "shares")
    assert ">10 %</text>" in text and ">2.5 %</text>" in text and "10.0" not in text


def test_a_figure_names_itself_and_nothing_outside():
    text = _drawn()
    assert 'role="img" aria-labelledby="fig0-alt"><title id="fig0-alt">about plain</title>' in text
    assert "<metadata" not in text and "<style" not in text
    assert set(re.findall(r"https?://[^\"]+", text)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_same_figure_is_the_same_text():
    assert _drawn() == _drawn()


def test_png_holds_the_pixels():
    from PIL import Image

    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    uri = png(pixels)
    assert uri.startswith("data:image/png;base64,")
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))
    assert np.array_equal(found, pixels)
