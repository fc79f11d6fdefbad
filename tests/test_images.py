"""Pictures in and out: every format that opens, every file that is refused, tensors and back, metadata and measures."""

import itertools
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from latentlab.errors import UserError
from latentlab.io import images

WIDTH, HEIGHT = 30, 20
LOSSY = {"JPEG": 40, "WEBP": 40, "GIF": 60}  # grey levels by which one of these may miss


@pytest.fixture
def picture():
    """A smooth RGB picture, wider than high, no two corners alike."""
    x, y = np.meshgrid(np.linspace(0, 255, WIDTH), np.linspace(0, 255, HEIGHT))
    return Image.fromarray(np.stack([x, y, (x + y) / 2], -1).astype(np.uint8))


@pytest.fixture
def pixels(rng):
    return torch.rand(3, 3, 12, 17, generator=rng) * 2 - 1


def reopened(image, tmp_path, format="PNG", **options):
    path = tmp_path / f"picture.{format.lower()}"
    image.save(path, format, **options)
    return images.open_image(path)


def difference(a, b):
    assert a.size == b.size and a.mode == b.mode == "RGB"
    return abs(np.asarray(a, int) - np.asarray(b, int)).max()


# Files that are read


@pytest.mark.parametrize("format", images.FORMATS)
def test_every_format_opens_as_the_picture_it_holds(picture, tmp_path, format):
    assert difference(reopened(picture, tmp_path, format), picture) <= LOSSY.get(format, 0)


def test_the_name_of_a_file_does_not_matter(picture, tmp_path):
    path = tmp_path / "photo.txt"
    picture.save(path, "PNG")
    assert difference(images.open_image(path), picture) == 0
    assert difference(images.open_image(str(path)), picture) == 0


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_two_colour_and_palette_pictures_open_as_their_colours(picture, tmp_path, mode):
    image = picture.convert(mode)
    assert difference(reopened(image, tmp_path), image.convert("RGB")) == 0


def test_cmyk_opens_as_its_colours(picture, tmp_path):
    assert difference(reopened(picture.convert("CMYK"), tmp_path, "JPEG", quality=95), picture) <= LOSSY["JPEG"]


@pytest.mark.parametrize("top", [65535, 40000, 200])
def test_sixteen_bit_grey_keeps_its_upper_byte_however_dark(tmp_path, top):
    grey = np.linspace(0, top, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    opened = np.asarray(reopened(Image.fromarray(grey), tmp_path), float)
    assert abs(opened - grey[..., None] / 257).max() <= 0.5


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_transparency_is_laid_on_white(picture, tmp_path, mode, alpha):
    image = picture.convert(mode)
    image.putalpha(alpha)
    opaque = np.asarray(picture.convert(mode[:-1]).convert("RGB"), float)
    wanted = (opaque * alpha + 255 * (255 - alpha)) / 255
    assert abs(np.asarray(reopened(image, tmp_path), float) - wanted).max() <= 1


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_palette_colour_is_white(tmp_path, format):
    image = Image.new("P", (4, 3), 1)
    image.putpalette([9, 9, 9, 200, 10, 30])
    image.putpixel((2, 1), 0)
    opened = reopened(image, tmp_path, format, transparency=0)
    assert opened.getpixel((2, 1)) == (255, 255, 255) and opened.getpixel((0, 0)) == (200, 10, 30)


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (7, 8, 9)), ("L", 7)])
def test_a_colour_key_is_white(tmp_path, mode, colour):
    image = Image.new(mode, (4, 3), colour)
    image.putpixel((2, 1), 0)
    opened = reopened(image, tmp_path, transparency=colour)
    assert opened.getpixel((0, 0)) == (255, 255, 255) and opened.getpixel((2, 1)) == (0, 0, 0)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_is_white_at_every_depth(tmp_path, bits):
    top = 2**bits - 1
    keyed, other = 0, top // 3 if bits > 1 else 1  # the key is black, so that white can come from the key alone
    rows = ["".join(f"{value:0{bits}b}" for value in row) for row in ([keyed] * 8, [other] * 8)]
    pixels = b"".join(b"\0" + int(row, 2).to_bytes(bits, "big") for row in rows)
    header = struct.pack(">IIBBBBB", 8, 2, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"tRNS", struct.pack(">H", keyed)), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    for name, key in (("black", keyed), ("other", other)):
        path = tmp_path / f"{name}.png"
        chunks = [(kind, struct.pack(">H", key) if kind == b"tRNS" else data) for kind, data in chunks]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks))
        greys = np.asarray(images.open_image(path))[:, :, 0].astype(int)
        wanted = [[255 if value == key else round(value * 255 / top)] * 8 for value in (keyed, other)]
        assert abs(greys - wanted).max() <= 1


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def ink_profile(lightness):
    """An ICC profile of inks whose lightness L* is given for none (0) and for black (1), and 0 for any other ink."""
    table = bytearray()
    for node in range(16):  # C, M, Y, K, the last one fastest
        table += bytes([round(lightness.get(node, 0) * 255 / 100), 128, 128])
    linear = bytes(range(256))
    matrix = struct.pack(">9i", *(65536 * (k % 4 == 0) for k in range(9)))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + linear * 4 + bytes(table) + linear * 3
    header = bytearray(128)
    header[0:4] = struct.pack(">I", 144 + len(lut))
    header[8:12], header[12:24], header[36:40] = b"\x02\x40\0\0", b"prtrCMYKLab ", b"acsp"
    header[68:80] = struct.pack(">3i", 63190, 65536, 54061)  # D50
    return bytes(header) + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut


@pytest.mark.parametrize(("black_ink", "grey"), [(50, 119), (20, 48), (100, 255)])
def test_inks_are_seen_by_the_profile_that_a_picture_carries(tmp_path, black_ink, grey):
    inks = Image.new("CMYK", (16, 16), (0, 0, 0, 255))
    inks.paste((0, 0, 0, 0), (0, 0, 16, 8))  # the paper
    path = tmp_path / "a.jpg"
    inks.save(path, quality=100, icc_profile=ink_profile({0: 100, 1: black_ink}))
    rgb = np.asarray(images.open_image(path)).astype(int)
    assert abs(rgb[2] - 255).max() <= 2 and abs(rgb[-2] - grey).max() <= 2  # sRGB of L*


def test_inks_with_a_damaged_profile_are_seen_without_it(tmp_path):
    inks = Image.new("CMYK", (16, 16), (0, 0, 0, 255))
    inks.save(tmp_path / "a.jpg", quality=100, icc_profile=b"no profile")
    assert np.asarray(images.open_image(tmp_path / "a.jpg")).max() <= 2


def test_pillow_warns_no_user_of_damaged_metadata(picture, tmp_path, recwarn):
    picture.save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01")
    with warnings.catch_warnings(record=True) as seen, Image.open(tmp_path / "a.jpg") as image:
        warnings.simplefilter("always")
        image.getexif()
    assert seen, "Pillow itself no longer warns of this file"
    images.open_image(tmp_path / "a.jpg")
    assert not recwarn


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_an_animation_opens_as_its_first_frame(tmp_path, format):
    frames = [Image.new("RGB", (8, 5), colour) for colour in ("red", "lime", "blue")]
    options = {"save_all": True, "append_images": frames[1:], "duration": 50}
    opened = reopened(frames[0], tmp_path, format, **options, **({"lossless": True} if format == "WEBP" else {}))
    assert difference(opened, frames[0]) == 0


# EXIF's orientations, as what has to be done to the stored pixels to set them upright.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_photograph_turned_by_exif_opens_upright(picture, tmp_path, format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = reopened(picture, tmp_path, format, exif=exif)
    wanted = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](np.asarray(picture))))
    assert difference(opened, wanted) <= LOSSY.get(format, 0)


# Files that are refused


def test_a_missing_file_is_refused_with_the_formats(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.png is not there.*PNG, JPEG, WEBP, GIF, BMP"):
        images.open_image(tmp_path / "nothing.png")


def test_a_name_too_long_for_the_file_system_is_a_missing_file():
    with pytest.raises(UserError, match="is not there"):
        images.open_image("a photograph of " + 300 * "x")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="is a folder: give the path of one image"):
        images.open_image(tmp_path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match=r"a\.png is empty"):
        images.open_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "content",
    [
        b"Dear reader, this is no picture.\n" * 9,
        b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>',
        b"%PDF-1.7\n",
        b"\x00" * 400,
    ],
    ids=["text", "svg", "pdf", "zeros"],
)
def test_a_file_that_is_no_picture_is_refused_with_the_formats(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png is not an image that can be read: give one of PNG, JPEG"):
        images.open_image(tmp_path / "a.png")


@pytest.mark.parametrize("format", ["TIFF", "PPM", "ICO", "PDF"])
def test_a_format_that_is_not_listed_is_refused_even_when_the_name_ends_in_png(picture, tmp_path, format):
    picture.save(tmp_path / "a.png", format)
    with pytest.raises(UserError, match="not an image that can be read"):
        images.open_image(tmp_path / "a.png")


@pytest.mark.parametrize("format", images.FORMATS)
@pytest.mark.parametrize("part", [0.2, 0.6, 0.9])
def test_a_truncated_file_is_refused(tmp_path, rng, format, part):
    noise = torch.randint(0, 256, (60, 40, 3), generator=rng, dtype=torch.uint8)
    Image.fromarray(noise.numpy()).save(tmp_path / "a.img", format)
    whole = (tmp_path / "a.img").read_bytes()
    (tmp_path / "a.img").write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(UserError, match=r"a\.img is (broken|not an image)"):
        images.open_image(tmp_path / "a.img")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format", images.FORMATS)
def test_a_damaged_file_either_opens_or_is_refused(picture, tmp_path, format):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    picture.save(tmp_path / "a.img", format, **({} if format in ("GIF", "BMP") else {"exif": exif}))
    whole, rng = (tmp_path / "a.img").read_bytes(), np.random.default_rng(0)
    for reach in itertools.islice(itertools.cycle((40, 200, len(whole))), 60):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(reach, len(whole)), 4):
            damaged[place] = rng.integers(256)
        (tmp_path / "a.img").write_bytes(damaged)
        try:
            assert images.open_image(tmp_path / "a.img").mode == "RGB"
        except UserError as error:
            assert "a.img" in str(error)


def test_a_file_of_more_than_20_megabytes_is_refused_unread(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(20 * 2**20 + 1)  # a hole: it takes no space on disk
    with pytest.raises(UserError, match=r"a\.png has 20\.0 MB, at most 20 MB is read: shrink it"):
        images.open_image(tmp_path / "a.png")


def bomb(path, width, height):
    """A PNG of a few bytes whose header claims that size."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize(("width", "height"), [(6400, 6251), (13000, 13000)])
def test_more_than_40_megapixels_are_refused_with_their_number(tmp_path, width, height):
    megapixels = f"{width * height / 1e6:.0f}"
    with pytest.raises(UserError, match=rf"{width}x{height} = {megapixels} Mpx, at most 40 Mpx is read: shrink it"):
        images.open_image(bomb(tmp_path / "a.png", width, height))


def test_more_pixels_than_pillow_itself_allows_are_refused_in_the_same_words(tmp_path):
    with pytest.raises(UserError, match="at most 40 Mpx is read: shrink it"):
        images.open_image(bomb(tmp_path / "a.png", 60000, 60000))


@pytest.mark.skipif(sys.platform != "linux", reason="resets the peak of the memory through /proc")
@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_a_large_picture_is_held_in_memory_at_most_twice(tmp_path, mode):
    Image.new(mode, (4000, 3000)).save(tmp_path / "a.png", compress_level=1)
    Path("/proc/self/clear_refs").write_text("5")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    before = int(status["VmRSS"].split()[0])
    assert images.open_image(tmp_path / "a.png").size == (4000, 3000)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    held = (int(status["VmHWM"].split()[0]) - before) * 1024 / (4 * 4000 * 3000)
    assert held < (2.5 if mode == "RGBA" else 1.5)


def test_exactly_40_megapixels_are_allowed(tmp_path):
    with pytest.raises(UserError, match="broken"):  # it has no pixels, but they were asked for
        images.open_image(bomb(tmp_path / "a.png", 8000, 5000))


# Pictures and tensors


def test_a_tensor_converted_to_a_picture_and_back_is_the_same_at_every_grey_level():
    ramp = (torch.arange(256) / 127.5 - 1).repeat(2, 3, 3, 1)  # (2, 3, 3, 256)
    torch.testing.assert_close(images.to_tensor(*images.to_pil(ramp)), ramp, rtol=0, atol=1e-6)


def test_a_picture_converted_to_a_tensor_and_back_is_the_same(picture):
    (again,) = images.to_pil(images.to_tensor(picture))
    assert difference(again, picture) == 0


def test_a_tensor_has_channels_rows_and_columns_in_this_order(picture):
    tensor = images.to_tensor(picture, picture.rotate(180))
    assert tensor.shape == (2, 3, HEIGHT, WIDTH)
    assert tensor[0, :, 3, 25].tolist() == pytest.approx([c / 127.5 - 1 for c in picture.getpixel((25, 3))], abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_values_outside_the_range_are_clipped(dtype):
    (image,) = images.to_pil(torch.tensor([-9.0, -1.0, 0.0, 1.0, 9.0], dtype=dtype).expand(1, 3, 2, 5))
    assert [image.getpixel((k, 1))[0] for k in range(5)] == [0, 0, 128, 255, 255]


def test_pictures_of_different_sizes_are_refused(picture):
    with pytest.raises(UserError, match=r"sizes \[\(20, 30\), \(30, 20\)\].*images\.square"):
        images.to_tensor(picture, picture.rotate(90, expand=True))


def test_resize_leaves_a_picture_of_the_right_size_unchanged(pixels):
    assert torch.equal(images.resize(pixels[..., :12], 12), pixels[..., :12])


@pytest.mark.parametrize("size", [1, 5, 12, 40])
def test_resize_makes_squares_within_the_range(pixels, size):
    resized = images.resize(pixels.sign(), size)
    assert resized.shape == (3, 3, size, size)
    assert resized.abs().max() <= 1


@pytest.mark.parametrize("size", [4, 40])
def test_resize_keeps_a_plain_colour(size):
    plain = torch.tensor([0.25, -0.5, 1.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(
        images.resize(plain.expand(2, 3, 11, 23), size), plain.expand(2, 3, size, size), rtol=0, atol=1e-5
    )


# Squares


def halves(width, height):
    """A picture whose middle square is green, with red before it and blue after it."""
    image, side = Image.new("RGB", (width, height), "red"), min(width, height)
    image.paste("lime", ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2))
    image.paste(
        "blue", ((width + side) // 2, 0, width, height) if width > height else (0, (height + side) // 2, width, height)
    )
    return image


@pytest.mark.parametrize(("width", "height"), [(48, 16), (16, 48)], ids=["wide", "high"])
def test_cropping_keeps_the_middle(width, height):
    cropped = images.square(halves(width, height), 16)
    assert difference(cropped, Image.new("RGB", (16, 16), "lime")) == 0


@pytest.mark.parametrize(("width", "height"), [(48, 16), (16, 48)], ids=["wide", "high"])
def test_padding_keeps_everything_and_fills_with_the_borders_colour(width, height):
    padded = images.square(halves(width, height), 48, fit="pad")
    assert padded.size == (48, 48)
    assert {colour for _, colour in padded.getcolors()} == {(255, 0, 0), (0, 255, 0), (0, 0, 255)}
    assert padded.getpixel((0, 0)) == (255, 0, 0)
    at = (8, 24) if width > height else (24, 8)
    assert padded.getpixel(at) == (255, 0, 0) and padded.getpixel((24, 24)) == (0, 255, 0)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_square_leaves_a_square_picture_of_the_right_size_unchanged(picture, fit):
    square = picture.resize((16, 16))
    assert difference(images.square(square, 16, fit=fit), square) == 0


def test_an_unknown_fit_is_refused(picture):
    with pytest.raises(UserError, match="fit is 'stretch': give 'crop', 'pad' or 'subject'"):
        images.square(picture, 16, fit="stretch")


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_load_gives_a_batch_of_one_square_picture(picture, tmp_path, fit):
    picture.save(tmp_path / "a.png")
    loaded = images.load(tmp_path / "a.png", 16, fit=fit)
    assert torch.equal(loaded, images.to_tensor(images.square(picture, 16, fit=fit)))
    assert loaded.shape == (1, 3, 16, 16)


# Metadata in PNGs


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"seed": 7, "eta": 0.5, "steps": [980, 20, -1], "upsampled": True, "text": None},
        {"caption": "ein süßer Hund — 一只狗 🐶", "quote": '"\\\n\t'},
        {"long": "x" * 20_000},
    ],
    ids=["empty", "numbers", "other scripts", "long"],
)
def test_metadata_comes_back_from_a_png_and_the_picture_with_it(picture, tmp_path, metadata):
    path = images.save_png(picture, tmp_path / "a.png", metadata)
    assert path == tmp_path / "a.png"
    assert images.read_metadata(path) == metadata
    assert difference(images.open_image(path), picture) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_a_png_without_our_metadata_has_none(picture, tmp_path):
    assert images.read_metadata(images.save_png(picture, tmp_path / "a.png")) is None


@pytest.mark.parametrize("text", ["not json", "[1, 2]", "3", ""])
def test_text_of_another_program_under_our_key_is_not_metadata(picture, tmp_path, text):
    info = images.PngImagePlugin.PngInfo()
    info.add_itxt(images.METADATA_KEY, text)
    picture.save(tmp_path / "a.png", pnginfo=info)
    assert images.read_metadata(tmp_path / "a.png") is None


def test_a_failed_save_leaves_the_old_picture(picture, tmp_path):
    path = images.save_png(picture, tmp_path / "a.png", {"seed": 1})
    with pytest.raises(TypeError):
        images.save_png(picture.rotate(180), path, {"seed": object()})
    assert images.read_metadata(path) == {"seed": 1} and difference(images.open_image(path), picture) == 0


# Measures


@pytest.fixture
def pair(pixels, rng):
    """Three pictures, and the same with more noise in each."""
    noise = torch.randn(pixels.shape, generator=rng) * torch.tensor([0.01, 0.1, 0.5]).view(3, 1, 1, 1)
    return pixels, (pixels + noise).clamp(-1, 1)


def rows(measure, a, b, **options):
    values = [measure(x.double().numpy(), y.double().numpy(), data_range=2.0, **options) for x, y in zip(a, b)]
    return torch.tensor(values, dtype=torch.float64)


def test_psnr_is_scikit_images(pair):
    torch.testing.assert_close(images.psnr(*pair), rows(peak_signal_noise_ratio, *pair))


def test_ssim_is_scikit_images(pair):
    torch.testing.assert_close(images.ssim(*pair).double(), rows(structural_similarity, *pair, channel_axis=0))


def test_more_noise_is_a_lower_psnr_and_ssim(pair):
    for measure in (images.psnr, images.ssim):
        assert (measure(*pair).diff() < 0).all()


def test_equal_pictures_have_a_high_finite_psnr_and_an_ssim_of_1(pixels):
    assert (images.psnr(pixels, pixels) > 150).all() and images.psnr(pixels, pixels).isfinite().all()
    torch.testing.assert_close(images.ssim(pixels, pixels).double(), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("shift", [0.02, 0.2])
def test_psnr_of_a_plain_shift_is_its_closed_form(shift):
    dark = torch.zeros(2, 3, 8, 11)
    wanted = torch.full((2,), 20 * np.log10(2 / shift), dtype=torch.float64)
    torch.testing.assert_close(images.psnr(dark, dark + shift), wanted, rtol=1e-6, atol=1e-6)


def test_cielab_is_scikit_images_channel_by_channel(pixels):
    wanted = [rgb2lab((row.permute(1, 2, 0).double().numpy() + 1) / 2) for row in pixels]
    torch.testing.assert_close(images.cielab(pixels).permute(0, 2, 3, 1), torch.from_numpy(np.stack(wanted)))


def test_cielab_of_white_grey_and_black_has_no_colour_and_the_lightness_of_its_definition():
    grey = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 3, 2, 5)
    lab = images.cielab(grey)
    assert lab.shape == (3, 3, 2, 5) and lab[:, 1:].abs().max() < 0.02
    luminance = ((0.5 + 0.055) / 1.055) ** 2.4  # of sRGB 0.5
    wanted = [0, 116 * luminance ** (1 / 3) - 16, 100]
    assert lab[:, 0, 0, 0].tolist() == pytest.approx(wanted, abs=1e-3)


def test_metadata_of_a_missing_file_or_another_format_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg")
    for name in ("a.jpg", "nowhere.png"):
        with pytest.raises(UserError, match="is not a PNG that can be read"):
            images.read_metadata(tmp_path / name)
