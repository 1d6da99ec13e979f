"""The ten characters of KMNIST as pen strokes: all of them, as taught in school, and drawn without a font of their own."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torchvision
from matplotlib.text import Text

from mnistlib import hiragana, plots
from mnistlib.hiragana import draw_characters, strokes

TAUGHT = {"o": 3, "ki": 4, "su": 2, "tsu": 1, "na": 4, "ha": 3, "ma": 3, "ya": 3, "re": 2, "wo": 3}  # strokes of each
every_character = pytest.mark.parametrize("name", TAUGHT)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def points(name):
    return [np.array([point.split(",") for point in stroke.split()], float) / 100 for stroke in hiragana._POINTS[name]]


def turns(line):
    """The angle by which a line turns at each of its points, in degrees; where it stands still it does not turn."""
    steps = np.diff(line, axis=0)
    steps = steps[np.linalg.norm(steps, axis=1) > 1e-9]
    angles = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    return np.degrees(np.diff(angles))


def test_there_are_the_ten_classes_of_torchvision_in_its_order():
    assert list(hiragana._POINTS) == torchvision.datasets.KMNIST.classes == list(TAUGHT)


@every_character
def test_a_character_has_the_strokes_taught_in_school(name):
    assert len(strokes(name)) == TAUGHT[name]


@every_character
def test_the_strokes_stay_inside_the_unit_square_and_fill_it(name):
    everything = np.vstack(strokes(name))
    assert everything.dtype == np.float64
    assert everything.shape[1] == 2
    assert everything.min() >= 0.03  # half the thickness of the pen
    assert everything.max() <= 0.97
    assert np.ptp(everything, axis=0).min() > 0.55


@every_character
def test_a_stroke_goes_through_its_points_in_order(name):
    for line, given in zip(strokes(name), points(name), strict=True):
        places = [np.linalg.norm(line - point, axis=1).argmin() for point in given]
        distances = [np.linalg.norm(line - point, axis=1).min() for point in given]
        assert max(distances) < 1e-9
        assert places == sorted(places)


@every_character
def test_a_stroke_is_smooth_but_for_its_corners(name):
    for line, given in zip(strokes(name), points(name), strict=True):
        corners = int((np.diff(given, axis=0) == 0).all(1).sum())
        assert (np.abs(turns(line)) > 45).sum() == corners
        assert np.linalg.norm(np.diff(line, axis=0), axis=1).max() < 0.05


def test_strokes_are_written_from_the_left_or_from_above():
    for name in TAUGHT:
        for number, line in enumerate(strokes(name)):
            (x, y), (last_x, last_y) = line[0], line[-1]
            assert last_x > x or last_y > y, (name, number)


@pytest.mark.parametrize(("name", "stroke"), [("o", 1), ("su", 1), ("na", 3), ("ha", 2), ("ma", 2)])
def test_the_loops_go_round(name, stroke):
    """Down, left, up and right again: three quarters of a turn at the least."""
    assert turns(strokes(name)[stroke]).sum() > 270


def test_a_bow_is_no_loop():
    assert 90 < turns(strokes("tsu")[0]).sum() < 270


@pytest.mark.parametrize("name", ["a", "KI", ""])
def test_another_character_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match=f"no character is called '{name}'; there are o, ki, su, tsu, na, ha, ma, ya, re, wo"):
        strokes(name)


def test_a_figure_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        draw_characters(())


@pytest.mark.parametrize("names", [("ki",), tuple(TAUGHT)[:7], tuple(TAUGHT)])
def test_each_character_stands_above_its_name(names):
    figure = draw_characters(names)
    used = [axis for axis in figure.axes if axis.axison]
    assert [axis.get_xlabel() for axis in used] == list(names)
    assert [len(axis.lines) for axis in used] == [TAUGHT[name] for name in names]
    assert {line.get_solid_capstyle() for axis in used for line in axis.lines} == {"round"}
    for axis in used:
        assert axis.get_ylim() == (1, 0)  # y goes down, as in the strokes


def test_no_text_needs_a_font_with_hiragana(recwarn):
    figure = draw_characters()
    figure.canvas.draw()
    words = [text.get_text() for text in figure.findobj(Text)]
    assert set(TAUGHT) <= set(words)
    assert all(word.isascii() for word in words)
    assert [str(warning.message) for warning in recwarn if "lyph" in str(warning.message)] == []


def test_the_figure_is_readable_on_any_page_and_leaves_the_callers_style_alone():
    with plt.style.context("dark_background"):
        before = dict(plt.rcParams)
        figure = draw_characters()
        assert dict(plt.rcParams) == before
        figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    assert (pixels[..., 3] == 255).all()
    assert pixels[0, 0].tolist() == [255] * 4
    ink = (pixels[..., :3].max(-1) < 64).mean()
    assert 0.05 < ink < 0.3


def test_the_figure_is_the_same_bytes_each_time(tmp_path):
    for name in ("one.png", "two.png"):
        plots.save(draw_characters(), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_the_text_alternative_names_every_character():
    words = hiragana.ALT.replace(",", "").replace(";", "").replace(":", "").split()
    assert set(TAUGHT) <= set(words)
