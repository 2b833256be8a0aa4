"""Signals: grids in true units, exact derivative targets, batches that draw fairly, files as they look on a screen."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siren_jax import Frame, InputError, PixelDataset, generate_coordinates, load_image

SHAPES = st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple)
STEP = jnp.int32(0)


def random(*shape):
    return np.random.default_rng(0).random(shape)


def random_bytes(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


# The grid


@given(SHAPES, st.integers(0, 2**32 - 1))
def test_indices_are_the_inverse_of_coordinates(shape, seed):
    indices = np.random.default_rng(seed).uniform(-5, 45, (10, len(shape)))
    # A coordinate of size up to 45·spacing is rounded to float32, 2^-24 of it.
    assert np.allclose(Frame(shape).indices(Frame(shape).coordinates(indices)), indices, rtol=0, atol=90 * 2**-24)


@given(SHAPES)
def test_spacing_is_the_same_along_all_axes_and_the_longest_spans_minus_one_to_one(shape):
    frame, n = Frame(shape), max(shape)
    origin = np.zeros(len(shape))
    steps = frame.coordinates(origin + np.eye(len(shape))) - frame.coordinates(origin)
    assert np.allclose(steps, frame.spacing * np.eye(len(shape)), atol=2**-23)  # float32 coordinates below one
    axis = shape.index(n)
    first, last = frame.coordinates(np.stack([origin, np.array(shape) - 1]))[:, axis]
    assert np.allclose([first, last], [1 / n - 1, 1 - 1 / n], atol=2**-24)
    # Half a spacing beyond the outermost samples lie the edges.
    assert np.allclose(frame.coordinates(np.array(shape) - 0.5), frame.extent, atol=2**-24)
    assert frame.extent[axis] == 1


@given(SHAPES)
def test_generated_coordinates_are_those_of_every_index_in_the_order_of_reshape(shape):
    indices = np.stack(np.unravel_index(np.arange(math.prod(shape)), shape), axis=-1)
    assert np.array_equal(generate_coordinates(shape), Frame(shape).coordinates(indices))


def test_an_integer_is_one_axis():
    assert generate_coordinates(4).tolist() == [[-0.75], [-0.25], [0.25], [0.75]]


@pytest.mark.parametrize("shape", [(), 0, (3, 0), (-1,)])
def test_an_empty_grid_is_refused(shape):
    with pytest.raises(ValueError, match="at least one sample along each axis"):
        generate_coordinates(shape)


# Derivatives of pixels. Central differences are exact on quadratics and the five-point Laplacian on cubics, away from
# the border; what remains is the rounding of coordinates and targets to float32, 2^-24 of them.

ASPECTS = pytest.mark.parametrize("shape", [(7, 7), (6, 11), (12, 5)])
CHANNELS = pytest.mark.parametrize("c", [1, 3, 4])


def polynomial_image(shape, coefficients):
    """Σ a_ij x^i y^j for every channel, and its gradient and Laplacian, on the grid of an image."""
    x, y = np.moveaxis(generate_coordinates(shape).astype(np.float64).reshape(*shape, 2), -1, 0)
    value, der = np.polynomial.polynomial.polyval2d, np.polynomial.polynomial.polyder
    f = np.stack([value(x, y, a) for a in coefficients], -1)
    gradient = np.stack([[value(x, y, der(a, axis=axis)) for axis in (0, 1)] for a in coefficients])
    laplacian = np.stack([value(x, y, der(a, 2, axis=0)) + value(x, y, der(a, 2, axis=1)) for a in coefficients], -1)
    return f, np.moveaxis(gradient, (0, 1), (2, 3)), laplacian


def coefficients_of_degree(degree, c):
    i, j = np.indices((degree + 1, degree + 1))
    return np.random.default_rng(0).normal(size=(c, degree + 1, degree + 1)) * (i + j <= degree)


@ASPECTS
@CHANNELS
@pytest.mark.parametrize("degree", [1, 2])
def test_gradient_is_exact_on_quadratics_in_value_per_coordinate(shape, c, degree):
    image, gradient, _ = polynomial_image(shape, coefficients_of_degree(degree, c))
    dataset = PixelDataset(image, value_range=(-3.0, 1.0))  # four wide: values shrink to a half
    ours = dataset.gradient.reshape(*shape, c, 2)
    assert np.allclose(ours[1:-1, 1:-1], gradient[1:-1, 1:-1] / 2, rtol=1e-6, atol=1e-6)
    assert np.allclose(dataset.gradient_norm, np.hypot(*np.moveaxis(dataset.gradient, -1, 0)), rtol=1e-6)


@ASPECTS
@CHANNELS
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_laplacian_is_exact_on_cubics_in_value_per_coordinate_squared(shape, c, degree):
    image, _, laplacian = polynomial_image(shape, coefficients_of_degree(degree, c))
    ours = PixelDataset(image, value_range=(-3.0, 1.0)).laplacian.reshape(*shape, c)
    assert np.allclose(ours[1:-1, 1:-1], laplacian[1:-1, 1:-1] / 2, rtol=1e-6, atol=1e-5)  # coordinates are float32


@ASPECTS
@pytest.mark.parametrize("c", [3, 4])
def test_derivatives_of_a_colour_image_are_those_of_its_channels_alone(shape, c):
    image = random(*shape, c)
    colour, alone = PixelDataset(image), [PixelDataset(image[..., k]) for k in range(c)]
    for name in ("value", "gradient", "gradient_norm", "laplacian"):
        assert np.array_equal(getattr(colour, name), np.concatenate([getattr(one, name) for one in alone], axis=1))


@ASPECTS
def test_transposing_an_image_swaps_the_components_of_its_gradient(shape):
    image = random(*shape)
    ours = PixelDataset(image).gradient.reshape(*shape, 2)
    transposed = PixelDataset(image.T).gradient.reshape(*shape[::-1], 2)
    assert np.allclose(transposed.transpose(1, 0, 2)[..., ::-1], ours, atol=1e-5)  # float64 sums in another order


@ASPECTS
def test_nothing_flows_through_the_border(shape):
    # The picture continues by reflection, so its Laplacians sum to the flux through the border, zero.
    laplacian = PixelDataset(random(*shape)).laplacian
    assert abs(laplacian.sum(dtype=np.float64)) < 1e-6 * np.abs(laplacian).sum()  # each rounded to float32


def test_mean_square_is_of_the_length_of_the_gradient_and_of_the_laplacian():
    dataset = PixelDataset(random(5, 6, 3))
    assert math.isclose(dataset.mean_square["gradient"], np.mean(dataset.gradient_norm**2), rel_tol=1e-5)  # float32
    assert math.isclose(dataset.mean_square["laplacian"], np.mean(dataset.laplacian**2), rel_tol=1e-5)


# Values


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.array([[0, 51, 255]], np.uint8), [-1, -0.6, 1]),
        (np.array([[0, 65535]], np.uint16), [-1, 1]),
        (np.array([[-128, 127]], np.int8), [-1, 1]),
        (np.array([[False, True]]), [-1, 1]),
        (np.array([[0.25, 0.5, 1.0]], np.float32), [-0.5, 0, 1]),
        (np.array([[0.25, 0.5, 1.0]], np.float16), [-0.5, 0, 1]),
        (np.array([[-0.5, 0.5]]), [-0.5, 0.5]),
        (np.array([[-3.0, 1.0, 5.0]]), [-1, 0, 1]),
    ],
    ids=lambda x: getattr(getattr(x, "dtype", None), "name", None),
)
def test_the_range_of_the_image_becomes_minus_one_to_one(image, expected):
    dataset = PixelDataset(image)
    assert dataset.value.dtype == np.float32
    assert np.allclose(dataset.value[:, 0], expected, atol=1e-7)  # float32
    assert np.allclose(dataset.grids()["value"][..., 0], image, rtol=1e-6, atol=1e-6)  # and back


def test_grids_are_in_the_values_of_the_image():
    image = random_bytes(5, 6, 3)
    grids, dataset = PixelDataset(image).grids(), PixelDataset(image)
    assert np.allclose(grids["value"], image, atol=1e-4)  # float32 of up to 255
    assert np.allclose(grids["gradient"], 127.5 * dataset.gradient.reshape(5, 6, 3, 2))
    assert np.allclose(grids["laplacian"], 127.5 * dataset.laplacian.reshape(5, 6, 3))


@pytest.mark.parametrize("image", [np.full((4, 5), 7, np.uint8), np.full((4, 5, 3), 0.3), np.full((4, 5), 3.0)])
def test_a_constant_image_has_no_derivatives(image):
    dataset = PixelDataset(image)
    assert np.all(np.isfinite(dataset.value))
    assert not np.any(dataset.gradient)
    assert not np.any(dataset.laplacian)


def test_one_pixel_is_an_image():
    (pixel,) = PixelDataset(np.array([[0.5]])).batches()
    assert {name: array.tolist() for name, array in pixel.items()} == {
        "coordinates": [[0, 0]],
        "indices": [[0, 0]],
        "value": [[0]],
        "gradient": [[[0, 0]]],
        "gradient_norm": [[0]],
        "laplacian": [[0]],
    }


def test_one_row_is_an_image():
    dataset = PixelDataset(np.linspace(0, 1, 8)[None])
    assert np.array_equal(dataset.coordinates[:, 0], np.zeros(8))
    assert not np.any(dataset.gradient[..., 0])
    slope = (2 / 7) / (2 / 8)  # values and coordinates, each two wide
    assert np.allclose(dataset.gradient[1:-1, 0, 1], slope, rtol=1e-6)  # float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_refused(bad):
    image = np.zeros((3, 4))
    image[1, 2] = bad
    with pytest.raises(InputError, match="1 of the 12 values are NaN or infinite"):
        PixelDataset(image)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(4), r"has the shape \(h, w\) or \(h, w, c\)"),
        (np.zeros((1, 2, 3, 4)), r"has the shape \(h, w\) or \(h, w, c\)"),
        (np.zeros((0, 4)), "at least one pixel"),
        (np.zeros((2, 2, 0)), "at least one pixel"),
        (np.zeros((2, 2), complex), "real numbers, but this array has the type complex128"),
        (np.array([["a"]]), "real numbers"),
    ],
)
def test_arrays_that_are_not_images_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        PixelDataset(image)


@pytest.mark.parametrize("value_range", [(1.0, 1.0), (1.0, 0.0), (math.nan, 1.0)])
def test_an_empty_value_range_is_refused(value_range):
    with pytest.raises(InputError, match="low < high"):
        PixelDataset(np.zeros((2, 2)), value_range=value_range)


# Indexing and batches


@pytest.mark.parametrize(
    "index",
    [0, 7, -1, np.int64(3), slice(None), slice(2, 9, 3), slice(None, None, -1), [0, 5, 5], np.array([[1, 2], [3, -4]])],
    ids=str,
)
def test_indexing_takes_the_same_pixels_from_every_array(index):
    dataset = PixelDataset(random(3, 5, 2))
    assert len(dataset) == 15
    for name, array in dataset[index].items():
        whole = np.indices((3, 5)).reshape(2, 15).T if name == "indices" else getattr(dataset, name)
        assert np.array_equal(array, whole[index])


def test_indexing_takes_a_mask():
    dataset = PixelDataset(random(3, 5))
    mask = dataset.value[:, 0] > 0
    assert np.array_equal(dataset[mask]["value"], dataset.value[mask])


@pytest.mark.parametrize("index", [15, -16, [0, 15]], ids=str)
def test_indexing_past_the_end_is_an_index_error(index):
    with pytest.raises(IndexError):
        PixelDataset(random(3, 5))[index]


@pytest.mark.parametrize("size", [1, 4, 5, 15, None])
@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_cover_every_pixel_once(size, shuffled, key):
    dataset = PixelDataset(random(3, 5))
    batches = list(dataset.batches(size, key=key if shuffled else None))
    assert [len(batch["value"]) for batch in batches[:-1]] == [size] * (math.ceil(15 / (size or 15)) - 1)
    drawn = np.concatenate([np.ravel_multi_index(batch["indices"].T, (3, 5)) for batch in batches])
    assert np.array_equal(np.sort(drawn), np.arange(15))
    assert np.array_equal(drawn, np.arange(15)) != shuffled


def test_shuffled_batches_are_a_function_of_the_key():
    first, again, other = (
        next(PixelDataset(np.arange(64, dtype=np.uint8)[None]).batches(16, key=jax.random.key(seed)))["value"]
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def numbered(n):
    """An image whose pixel i has the value i."""
    return PixelDataset(np.arange(n, dtype=np.float64)[None], value_range=(-1.0, 1.0))


def drawn(dataset, batch_size, keys):
    sample = dataset.sampler(batch_size)
    return np.asarray(jax.jit(jax.vmap(lambda key: sample(key, STEP)["value"][:, 0]))(keys)).round().astype(int)


@pytest.mark.parametrize(("n", "batch_size"), [(60, 12), (50, 12), (7, 3), (9, 9), (5, 1)])
def test_a_sampled_batch_has_one_pixel_of_every_stratum(n, batch_size, key):
    edges = np.arange(batch_size + 1) * n // batch_size
    pixels = drawn(numbered(n), batch_size, jax.random.split(key, 200))
    assert np.all((edges[:-1] <= pixels) & (pixels < edges[1:]))  # strata are disjoint: no pixel twice


def test_a_sampled_batch_of_all_pixels_is_the_image_in_order(key):
    dataset = PixelDataset(random(3, 5, 2))
    batch = dataset.sampler(quantities=("value", "gradient", "laplacian"))(key, STEP)
    assert set(batch) == {"coordinates", "value", "gradient", "laplacian"}
    for name, array in batch.items():
        assert np.array_equal(array, getattr(dataset, name))


@pytest.mark.parametrize(("n", "batch_size"), [(60, 12), (50, 12)])
def test_every_pixel_of_a_stratum_is_drawn_equally_often(n, batch_size, key):
    draws = 4000
    counts = np.bincount(drawn(numbered(n), batch_size, jax.random.split(key, draws)).ravel(), minlength=n)
    width = np.diff(np.arange(batch_size + 1) * n // batch_size)
    expected = np.repeat(draws / width, width)
    chi_square, freedom = np.sum((counts - expected) ** 2 / expected), n - batch_size
    # χ² has mean `freedom` and variance 2·freedom: five standard deviations.
    assert abs(chi_square - freedom) < 5 * math.sqrt(2 * freedom)


def test_a_sample_is_a_function_of_the_key_under_jit(key):
    sample = PixelDataset(random(8, 8)).sampler(16)
    assert np.array_equal(sample(key, STEP)["value"], jax.jit(sample)(key, STEP + 5)["value"])


@pytest.mark.parametrize("size", [0, -1, 16])
def test_batches_larger_than_the_image_or_empty_are_refused(size):
    dataset = PixelDataset(random(3, 5))
    with pytest.raises(InputError, match="1 to 15 points"):
        dataset.sampler(size)
    with pytest.raises(InputError, match="1 to 15 points"):
        next(dataset.batches(size))


# Files


def saved(tmp_path, array, mode=None, name="picture.png", **options):
    picture = array if isinstance(array, PIL.Image.Image) else PIL.Image.fromarray(array)
    path = tmp_path / name
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)], ids=["grey", "RGB"])
@pytest.mark.parametrize("name", ["picture.png", "picture.tiff", "picture.bmp"])
def test_lossless_files_give_their_bytes_over_255(shape, name, tmp_path):
    array = random_bytes(*shape)
    image = load_image(saved(tmp_path, array, name=name))
    assert image.dtype == np.float32
    assert np.allclose(image, array.reshape(5, 7, -1) / 255, atol=1e-7)  # float32


def test_a_path_may_be_a_string(tmp_path):
    path = saved(tmp_path, random_bytes(2, 3))
    assert np.array_equal(load_image(str(path)), load_image(path))


@pytest.mark.parametrize(("bands", "c"), [(4, 3), (2, 1)], ids=["RGBA", "LA"])
def test_transparency_is_laid_over_white(bands, c, tmp_path):
    array = random_bytes(5, 7, bands)
    colour, alpha = array[..., :-1] / 255, array[..., -1:] / 255
    image = load_image(saved(tmp_path, array))
    assert image.shape == (5, 7, c)
    assert np.allclose(image, alpha * colour + (1 - alpha), atol=1e-6)  # float32


def test_transparency_is_kept_on_request(tmp_path):
    array = random_bytes(5, 7, 4)
    assert np.allclose(load_image(saved(tmp_path, array), keep_alpha=True), array / 255, atol=1e-7)  # float32


def test_an_opaque_picture_has_no_alpha_to_keep(tmp_path):
    assert load_image(saved(tmp_path, random_bytes(5, 7, 3)), keep_alpha=True).shape == (5, 7, 3)


def test_a_palette_gives_its_colours(tmp_path):
    palette, numbers = random_bytes(4, 3), random_bytes(5, 7) % 4
    picture = PIL.Image.fromarray(numbers)
    picture.putpalette(palette.ravel())
    assert np.allclose(load_image(saved(tmp_path, picture)), palette[numbers] / 255, atol=1e-7)  # float32
    # Its second colour as the transparent one, over white.
    seen = np.where(numbers[..., None] == 1, 255, palette[numbers])
    assert np.allclose(load_image(saved(tmp_path, picture, transparency=1)), seen / 255, atol=1e-7)


def test_ink_becomes_colour(tmp_path):
    ink = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 0, 255]]], np.uint8)
    picture = PIL.Image.frombytes("CMYK", (4, 1), ink.tobytes())
    colours = [[1, 1, 1], [0, 1, 1], [1, 0, 1], [0, 0, 0]]  # white, cyan, magenta, black
    assert load_image(saved(tmp_path, picture, name="picture.tiff")).tolist() == [colours]


def test_sixteen_bit_grey_keeps_its_sixteen_bits(tmp_path):
    array = np.random.default_rng(0).integers(0, 65536, (5, 7), dtype=np.uint16)
    assert np.allclose(load_image(saved(tmp_path, array))[..., 0], array / 65535, atol=1e-7)  # float32


def test_a_sound_in_place_of_a_picture_is_called_so(tmp_path):
    (tmp_path / "a.png").write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
    with pytest.raises(InputError, match="is a sound, according to its content or its name; a picture is needed"):
        load_image(tmp_path / "a.png")


def test_black_and_white_is_zero_and_one(tmp_path):
    array = random(5, 7) > 0.5
    assert np.array_equal(load_image(saved(tmp_path, array))[..., 0], array)


def test_a_jpeg_is_near_its_original(tmp_path):
    array = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert np.allclose(load_image(saved(tmp_path, array, name="picture.jpg", quality=95)), array / 255, atol=0.02)


def test_an_animation_gives_its_first_frame_with_a_warning(tmp_path):
    frames = [PIL.Image.new("L", (7, 5), shade) for shade in (255, 0, 128)]
    path = saved(tmp_path, frames[0], name="film.gif", save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="has 3 frames: the first is taken"):
        image = load_image(path)
    assert image.shape[:2] == (5, 7)
    assert np.all(image == 1)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_the_orientation_in_the_exif_data_is_obeyed(orientation, upright, tmp_path):
    array, exif = random_bytes(5, 7, 3), PIL.Image.Exif()
    exif[0x0112] = orientation
    assert np.allclose(load_image(saved(tmp_path, array, exif=exif)), upright(array) / 255, atol=1e-7)  # float32


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_downsampling_divides_the_sides_and_keeps_the_mean(factor, tmp_path):
    array = random_bytes(60, 84, 3)
    image = load_image(saved(tmp_path, array), downsample=factor)
    assert image.shape == (60 // factor, 84 // factor, 3)
    # A Gaussian of one pixel, sampled at every third, weighs pixels unequally: by √2·exp(-(2π/3)²/2) = 0.16 of the mean
    # along an axis, 0.23 in all, and less for the other factors. Of noise, σ = 0.29; four standard deviations, and the
    # border.
    assert abs(image.mean() - array.mean() / 255) < 4 * 0.29 * 0.3 / math.sqrt(array.size)


def test_downsampling_turns_a_checkerboard_grey(tmp_path):
    board = (np.indices((63, 63)).sum(axis=0) % 2 * 255).astype(np.uint8)
    image = load_image(saved(tmp_path, board), downsample=3)
    # Every third pixel alone is a checkerboard again. A Gaussian of one pixel leaves (2 exp(-π²/2))² = 2.1e-4 of it;
    # the border, where the reflected board is out of step, is left out.
    assert np.abs(image[2:-2, 2:-2] - 0.5).max() < 1.1e-4


@pytest.mark.parametrize(("size", "shape"), [(20, (10, 20)), (40, (20, 40)), (80, (40, 80)), (1, (1, 1))])
def test_size_is_that_of_the_longer_side(size, shape, tmp_path):
    path = saved(tmp_path, np.full((20, 40), 51, np.uint8))
    image = load_image(path, size=size)
    assert image.shape == (*shape, 1)
    assert np.allclose(image, 0.2, atol=1e-6)  # a constant stays; float32


def test_downsampling_never_leaves_less_than_a_pixel(tmp_path):
    assert load_image(saved(tmp_path, random_bytes(3, 40)), downsample=8).shape == (1, 5, 1)


@pytest.mark.parametrize("options", [{"downsample": 0}, {"size": 0}, {"downsample": -2}], ids=str)
def test_impossible_sizes_are_refused(options, tmp_path):
    with pytest.raises(InputError, match="downsample and size must be at least 1"):
        load_image(saved(tmp_path, random_bytes(4, 4)), **options)


def refused(path, message):
    with pytest.raises(InputError, match=message) as caught:
        load_image(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_paths_without_a_picture_are_refused(tmp_path):
    refused(tmp_path / "nowhere.png", "there is no file")
    refused(tmp_path, "is a directory")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "is empty")
    (tmp_path / "letter.png").write_text("Dear Sir or Madam,\nplease find enclosed a picture.\n")
    refused(tmp_path / "letter.png", "is not a picture")


@pytest.mark.parametrize("name", ["picture.png", "picture.jpg", "picture.tiff", "picture.bmp"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_a_truncated_picture_is_refused(name, kept, tmp_path):
    path = saved(tmp_path, random_bytes(40, 60, 3), name=name)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    refused(path, "is damaged|is not a picture")


def test_a_picture_too_large_to_be_safe_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, random_bytes(10, 10))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 40)  # Pillow raises above twice its limit
    refused(path, "is too large")
