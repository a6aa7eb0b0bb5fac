"""Image files that were made to do harm; each is small and stands for much memory, or is no image."""
import io
import struct
import zlib

import numpy as np
from PIL import Image


def make_png(width, height, color=0, chunks=(), data=None):
    """A black PNG; color 0 is gray, 2 RGB, 6 RGB with transparency.

    `data` replaces its compressed pixels.
    """
    if data is None:
        row = bytes(1 + width * {0: 1, 2: 3, 6: 4}[color])
        compressor, parts = zlib.compressobj(1), []
        rows = max(1, 2 ** 22 // len(row))
        for top in range(0, height, rows):
            parts.append(compressor.compress(row * min(rows, height - top)))
        data = b"".join([*parts, compressor.flush()])
    head = (b"IHDR", struct.pack(">2I5B", width, height, 8, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in (head, *chunks, (b"IDAT", data), (b"IEND", b"")))


def make_exif(tags=65_000, size=1_000_000):
    """EXIF data with many tags that share the same bytes; the orientation is one of them."""
    entries = [struct.pack("<HHII", 0x0112, 3, 1, 6)]
    entries += [struct.pack("<HHII", 0x0113 + i, 1, size - 8, 8) for i in range(tags - 1)]
    block = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + b"".join(entries)
    return block.ljust(size, b"\0")


def save(image, form, **options):
    """The bytes of a file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def make_gif(side, frames):
    """A GIF of equal black frames."""
    data = save(Image.new("P", (side, side)), "GIF")
    frame = data[data.index(b",\0\0\0\0"):-1]
    return data[:-1] + frame * (frames - 1) + b";"


def make_jpeg(width, height, progressive):
    """A JPEG whose head states another size than its data have."""
    data = bytearray(save(Image.new("RGB", (64, 64)), "JPEG", progressive=progressive))
    place = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[place + 5:place + 9] = struct.pack(">2H", height, width)
    return bytes(data)


def make_bmp(width, height):
    """A BMP that states a size, without pixels."""
    info = struct.pack("<I2i2H6I", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<3I", 100, 0, 54) + info


def make_tiff(width=9, height=9, tags=(), data=bytes(81), next_directory=0, size=0):
    """A gray TIFF, padded to `size` bytes; `tags` are (number, type, count, value or place)."""
    place = 8
    known = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1),
             273: (4, 1, place), 277: (3, 1, 1), 278: (4, 1, height), 279: (4, 1, len(data))}
    known |= {number: tuple(rest) for number, *rest in tags if number in known}
    entries = [(number, *rest) for number, rest in known.items()]
    entries += [tag for tag in tags if tag[0] not in known]
    begin = place + len(data)
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", *entry) for entry in sorted(entries)) + struct.pack("<I", next_directory)
    return (b"II*\0" + struct.pack("<I", begin) + data + directory).ljust(size, b"\0")


_LIMIT, _UNREADABLE, _NO_TIFF = "more than the limit of", "not a readable JPEG", "not a readable TIFF"
# name -> None for an image that is read, or a part of the error
EXPECTED = {
    "thin.png": None, "flat.png": None, "thinner.png": None, "flatter.png": None, "many.png": None,
    "too_many.png": _LIMIT, "more.png": _LIMIT, "lies.png": _UNREADABLE, "text.png": _UNREADABLE,
    "profile.png": _UNREADABLE, "texts.png": _UNREADABLE, "exif.png": None, "exif.webp": None,
    "animated.gif": None, "canvas.gif": _UNREADABLE, "head.bmp": _LIMIT, "short.bmp": _UNREADABLE,
    "baseline.jpg": None, "progressive.jpg": _LIMIT, "cut.jpg": _UNREADABLE, "tiff.png": None,
    "tags.tif": None, "value.tif": _NO_TIFF, "tile.tif": _NO_TIFF, "sides.tif": _LIMIT, "loop.tif": None,
    "cut.tif": "not a readable", "inflated.tif": _UNREADABLE,
    "svg.png": _UNREADABLE, "text.jpg": _UNREADABLE, "empty.png": _UNREADABLE}


def make_files():
    """name -> bytes, for each name of EXPECTED."""
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), "uint8"))
    inflated = zlib.compress(bytes(200_000_000), 9)
    return {
        "thin.png": make_png(1, 5000), "flat.png": make_png(5000, 1),
        "thinner.png": make_png(3, 2_000_000), "flatter.png": make_png(2_000_000, 3),
        "many.png": make_png(6000, 6000, 2), "too_many.png": make_png(60_000, 60_000, 2, data=b""),
        "more.png": make_png(2 ** 31 - 1, 2 ** 31 - 1, data=b""),
        "lies.png": make_png(9000, 9000, 6, data=zlib.compress(bytes(100))),
        "text.png": make_png(9, 9, 0, [(b"zTXt", b"a\0\0" + inflated)]),
        "profile.png": make_png(9, 9, 0, [(b"iCCP", b"a\0\0" + inflated)]),
        "texts.png": make_png(9, 9, 0, [(b"tEXt", b"a\0" + bytes(2 ** 20))] * 66),
        "exif.png": make_png(9, 9, 0, [(b"eXIf", make_exif())]),
        "exif.webp": save(photo, "WEBP", exif=b"Exif\0\0" + make_exif()),
        "animated.gif": make_gif(1000, 300), "canvas.gif": b"GIF89a\xff\xff\xff\xff\0\0\0;",
        "head.bmp": make_bmp(100_000, 100_000), "short.bmp": make_bmp(9000, 9000),
        "baseline.jpg": make_jpeg(65_500, 65_500, False), "progressive.jpg": make_jpeg(65_500, 65_500, True),
        "cut.jpg": save(photo, "JPEG")[:-300], "tiff.png": save(photo, "TIFF"), "text.jpg": b"text",
        "tags.tif": make_tiff(tags=[(30_000 + i, 1, 999_000, 8) for i in range(30_000)], size=1_500_000),
        "value.tif": make_tiff(tags=[(273, 4, 5_000_000, 8)], size=20_000_100),
        "tile.tif": make_tiff(tags=[(322, 4, 1, 2 ** 20), (323, 4, 1, 2 ** 20), (324, 4, 1, 8)]),
        "sides.tif": make_tiff(2 ** 31 - 1, 2 ** 31 - 1), "loop.tif": make_tiff(next_directory=89),
        "cut.tif": make_tiff()[:100],
        "inflated.tif": make_tiff(12_000, 12_000, [(259, 3, 1, 8)], zlib.compress(bytes(1000))),
        "svg.png": b"<svg xmlns='http://www.w3.org'/>", "empty.png": b""}
