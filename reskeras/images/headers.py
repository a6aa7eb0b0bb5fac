"""What a TensorFlow graph does about image files: size before decoding, GIF, 16 bits, orientation."""
from __future__ import annotations

from typing import Any

from .depth import DEPTHS

_PNG, _BMP, _GIF = b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8"
_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, b";"     # how the parts of a GIF file begin

# The orientation in EXIF data of a JPEG, by its tag, in both byte orders and with 16 or 32 bits, or in XMP
# data: from 2 to 8 it turns or mirrors the image.  In other files it may be compressed or behind the pixels.
_TURNED_JPEG = (r"(?s)\C*(\x01\x12\x00[\x03\x04]\x00\x00\x00\x01(\x00\x00)?\x00[\x02-\x08]"
                r"|\x12\x01[\x03\x04]\x00\x01\x00\x00\x00[\x02-\x08]\x00|tiff:Orientation(=.|>)[2-8])\C*")
_HAS_EXIF = r"(?is)\C*(exif|com\.adobe\.xmp)\C*"
_SEARCHED = 2 ** 14     # bytes of a JPEG, where these data are
_XMP_ORIENTATION = r"(?s)\C*?tiff:Orientation(=.|>)([2-8])\C*"

# Of a JPEG: how segments and EXIF data begin, and the tag that says how the image lies
_APP1, _SCAN, _EXIF, _BIG_ENDIAN, _ORIENTATION = 0xFFE1, 0xFFDA, b"Exif\0\0", 0x4D4D, 0x0112
_MAX_HEAD, _PADDING = 2 ** 17, 16       # bytes: the longest two segments; zeros after the end


def read_sides(data: Any) -> Any:
    """(height, width) from the header of a JPEG, PNG or BMP file; (-1, -1) for other files.

    Args:
        data: the bytes of the file, a scalar string tensor.

    Returns:
        An int64 tensor (2,).

    Raises:
        tf.errors.InvalidArgumentError: for a file that ends before its height and width.
    """
    import tensorflow as tf

    def read_numbers(position: int, is_little_endian: bool) -> Any:
        numbers = tf.io.decode_raw(tf.strings.substr(data, position, 8), tf.int32, is_little_endian)
        return tf.cast(tf.ensure_shape(numbers, (2,)), tf.int64)[::-1]

    return tf.case([
        (tf.io.is_jpeg(data), lambda: tf.cast(tf.image.extract_jpeg_shape(data)[:2], tf.int64)),
        (_has_prefix(data, _PNG), lambda: read_numbers(16, False)),
        (_has_prefix(data, _BMP), lambda: tf.abs(read_numbers(18, True)))],   # < 0: top row first
        default=lambda: tf.constant([-1, -1], tf.int64))


def has_at_most(sides: Any, pixels: int) -> Any:
    """Whether an image with the sides that `read_sides` read has 1 to `pixels` pixels.

    Returns:
        A bool tensor; False for unknown sides.
    """
    import tensorflow as tf
    # compare each side first, because the product of two very large sides does not fit into 64 bits
    return tf.reduce_all((sides >= 1) & (sides <= pixels)) & (tf.reduce_prod(sides) <= pixels)


def has_16_bits(data: Any) -> Any:
    """Whether the bytes, a scalar string tensor, are a PNG file of 16 bits.  Returns: a bool tensor."""
    import tensorflow as tf
    # zeros are appended, because a damaged file may end before this byte
    depth = tf.strings.substr(tf.strings.join([data, bytes(25)]), 24, 1)
    return _has_prefix(data, _PNG) & (depth == b"\x10")


def may_be_turned(data: Any) -> Any:
    """Whether the bytes, a scalar string tensor, may be of an image that `decode_image` turns upright.

    Returns:
        A bool tensor; True for some others too, such as any PNG file with EXIF data, which costs only time.
    """
    import tensorflow as tf
    return tf.cond(tf.io.is_jpeg(data),
                   lambda: tf.strings.regex_full_match(tf.strings.substr(data, 0, _SEARCHED), _TURNED_JPEG),
                   lambda: tf.strings.regex_full_match(data, _HAS_EXIF))


def read_orientation(data: Any) -> Any:
    """How a JPEG lies, as its EXIF data say, or its XMP data if there are no others, as Pillow reads them.

    Args:
        data: the bytes of an image file, a scalar string tensor.

    Returns:
        An int64 tensor, 1 to 8; 1, for upright, also for other files and for data that are damaged.
    """
    import tensorflow as tf
    head = tf.strings.substr(data, 0, _MAX_HEAD)
    size = tf.strings.length(head)
    padded = tf.strings.join([head, bytes(_PADDING)])
    numbers = tf.cast(tf.io.decode_raw(padded, tf.uint8), tf.int64)

    def read(position: Any, count: int, is_big_endian: Any = True) -> Any:
        """A whole number of `count` bytes; after the end are zeros."""
        begin = tf.clip_by_value(tf.cast(position, tf.int32), 0, size)
        values = numbers[begin:begin + count]
        return tf.reduce_sum(tf.where(is_big_endian, values[::-1], values) * [256 ** i for i in range(count)])

    def is_other_segment(begin: Any) -> Any:
        kind = read(begin, 2)
        is_exif = (kind == _APP1) & (tf.strings.substr(padded, begin + 4, len(_EXIF)) == _EXIF)
        return (kind > 0xFF00) & (kind != _SCAN) & ~is_exif

    def skip_segment(begin: Any) -> tuple[Any]:
        return (tf.minimum(begin + 2 + tf.cast(tf.maximum(read(begin + 2, 2), 2), tf.int32), size),)

    # EXIF data are a TIFF file without a picture: the byte order, where the directory is, tags of 12 bytes
    segment, = tf.while_loop(is_other_segment, skip_segment, (2,))
    begin = segment + 4 + len(_EXIF)
    is_exif, is_big_endian = read(segment, 2) == _APP1, read(begin, 2) == _BIG_ENDIAN
    directory = begin + tf.cast(tf.minimum(read(begin + 4, 4, is_big_endian), _MAX_HEAD), tf.int32)
    tags = tf.minimum(tf.cast(read(directory, 2, is_big_endian), tf.int32),
                      tf.maximum(size - directory, 0) // 12)

    def is_other_tag(i: Any) -> Any:
        return (i < tags) & (read(directory + 2 + 12 * i, 2, is_big_endian) != _ORIENTATION)
    i, = tf.while_loop(is_other_tag, lambda i: (i + 1,), (0,))
    tag = directory + 2 + 12 * i
    kind = read(tag + 2, 2, is_big_endian)
    value = tf.where((kind == 3) | (kind == 8), read(tag + 8, 2, is_big_endian),
                     tf.where((kind == 4) | (kind == 9), read(tag + 8, 4, is_big_endian), 1))
    xmp = tf.strings.regex_replace(head, _XMP_ORIENTATION, r"\2")
    digit = tf.cast(tf.io.decode_raw(tf.strings.join([xmp, "1"]), tf.uint8)[0], tf.int64) - ord("0")
    in_xmp = tf.where(tf.strings.length(xmp) == 1, digit, 1)
    orientation = tf.where(is_exif & (i < tags), value, in_xmp)
    return tf.where(tf.io.is_jpeg(data) & (orientation >= 1) & (orientation <= 8), orientation, 1)


def turn_upright(pixels: Any, orientation: Any) -> Any:
    """Pixels (height, width, channels) of an image that lies as `orientation` says, turned upright."""
    import tensorflow as tf

    def apply_if(orientations: tuple[int, ...], function: Any, x: Any) -> Any:
        return tf.cond(tf.reduce_any(orientation == tf.constant(orientations, tf.int64)),
                       lambda: function(x), lambda: x)
    pixels = apply_if((5, 6, 7, 8), lambda x: tf.transpose(x, (1, 0, 2)), pixels)
    pixels = apply_if((2, 3, 6, 7), lambda x: tf.reverse(x, [1]), pixels)
    return apply_if((3, 4, 7, 8), lambda x: tf.reverse(x, [0]), pixels)


def convert_tensor_to_bytes(pixels: Any, bits: int) -> Any:
    """Scales a uint16 tensor to bytes, as `decode_image` does; 0 is the bits of its largest value."""
    import tensorflow as tf
    pixels = tf.cast(pixels, tf.int32)
    is_beyond = [tf.cast(tf.reduce_max(pixels) >= 2 ** depth, tf.int32) for depth in DEPTHS]
    shift = max(bits - 8, 0) if bits else 2 * sum(is_beyond)
    return tf.cast(tf.minimum(tf.bitwise.right_shift(pixels, shift), 255), tf.uint8)


def is_gif(data: Any) -> Any:
    """Whether the bytes, a scalar string tensor, begin like a GIF file.  Returns: a bool tensor."""
    return _has_prefix(data, _GIF)


def cut_gif(data: Any) -> tuple[Any, Any]:
    """The first frame of a GIF file as a file of its own: TensorFlow decodes all frames, to return one.

    Args:
        data: the bytes of the file, a scalar string tensor.

    Returns:
        (The bytes of the shorter file, the larger (height, width) of the canvas and the frame.)

    Raises:
        tf.errors.InvalidArgumentError: for a file that ends before its first frame does.
    """
    import tensorflow as tf
    numbers = tf.cast(tf.io.decode_raw(data, tf.uint8), tf.int32)

    def read_sides_at(position: Any) -> Any:
        width, height = (numbers[position + i] + 256 * numbers[position + i + 1] for i in (0, 2))
        return tf.stack([height, width])

    def count_colors(position: Any) -> Any:
        """How many bytes the table of colors has, from the flags at `position`."""
        flags = numbers[position]
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)

    def skip_part(position: Any, sides: Any, _: Any) -> tuple[Any, Any, Any]:
        """Skips an extension or a frame: a header, then blocks that begin with their length."""
        is_frame = numbers[position] == _IMAGE
        tf.debugging.assert_equal(is_frame | (numbers[position] == _EXTENSION), True, "a GIF without a frame")
        sides = tf.cond(is_frame, lambda: tf.maximum(sides, read_sides_at(position + 5)), lambda: sides)
        begin = tf.cond(is_frame, lambda: position + 11 + count_colors(position + 9), lambda: position + 2)
        end, = tf.while_loop(lambda i: numbers[i] > 0, lambda i: (i + numbers[i] + 1,), (begin,))
        return end + 1, sides, is_frame

    position, sides, _ = tf.while_loop(lambda _position, _sides, is_frame: ~is_frame, skip_part,
                                       (13 + count_colors(10), read_sides_at(6), tf.constant(False)))
    return tf.strings.substr(data, 0, position) + _TRAILER, tf.cast(sides, tf.int64)


def _has_prefix(data: Any, prefix: bytes) -> Any:
    import tensorflow as tf
    return tf.strings.substr(data, 0, len(prefix)) == prefix
