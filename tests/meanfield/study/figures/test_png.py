"""PNG files: read by Pillow, they have the pixels that were written."""

import io

import numpy as np
import pytest
from PIL import Image

from meanfield.study.figures.png import write_png


@pytest.mark.parametrize("shape", [(1, 1, 4), (7, 3, 3), (40, 61, 4)])
def test_a_file_has_its_pixels_and_their_density(tmp_path, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_png(tmp_path / "pixels.png", pixels, 200.0)
    with Image.open(tmp_path / "pixels.png") as image:
        assert image.format == "PNG" and image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), pixels[..., :3])
        assert image.info["dpi"] == pytest.approx(
            (200.0, 200.0), abs=0.0254
        )  # whole ones per metre
        assert image.text == {}  # no dates: the same data give the same bytes


def test_a_drawing_takes_the_space_that_pillow_needs_for_it(tmp_path):
    """White with slanted black lines, as a curve is."""
    row, column = np.indices((300, 400))
    pixels = np.where((row - column) % 150 < 3, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)
    write_png(tmp_path / "drawing.png", pixels, 200.0)
    theirs = io.BytesIO()
    Image.fromarray(pixels).save(theirs, "png", compress_level=2)
    assert (tmp_path / "drawing.png").stat().st_size < 1.2 * len(theirs.getvalue())
