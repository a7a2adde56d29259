"""Pictures of every kind that people have, encoded by Pillow and OpenCV, and damaged ones."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

Pixels = npt.NDArray[np.uint8]

_Y, _X = np.indices((24, 36))
RGB: Pixels = np.stack([_X * 7, _Y * 10, (_X // 9 + _Y // 8) % 3 * 90], -1).astype(np.uint8)
"""(24, 36, 3), with no symmetry."""
GREY: Pixels = RGB[..., 0] // 2 + RGB[..., 1] // 2

LOSSLESS_EXIF = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}


def saved(picture: PIL.Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def encoded(suffix: str, pixels: npt.NDArray[Any]) -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1])


def with_exif(pixels: Pixels, form: str, orientation: int) -> bytes:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    all_options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 98, "subsampling": 0},
        "WEBP": {"lossless": True},
    }
    options = all_options.get(form, {})
    return saved(PIL.Image.fromarray(pixels), form, exif=exif, **options)


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """What a viewer shows of stored pixels: Pillow's transpositions, by EXIF 2.32, tag 0x0112."""
    ways = PIL.Image.Transpose
    way = {
        2: ways.FLIP_LEFT_RIGHT,
        3: ways.ROTATE_180,
        4: ways.FLIP_TOP_BOTTOM,
        5: ways.TRANSPOSE,
        6: ways.ROTATE_270,
        7: ways.TRANSVERSE,
        8: ways.ROTATE_90,
    }.get(orientation)
    picture = PIL.Image.fromarray(pixels)
    return np.asarray(picture if way is None else picture.transpose(way))


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_that_states(height: int, width: int) -> bytes:
    """A PNG of other pixels than its header says, with the checksum of that."""
    data = bytearray(saved(PIL.Image.fromarray(RGB), "PNG"))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def _of_white(pixels: Pixels, white: int) -> npt.NDArray[np.float64]:
    return np.asarray(pixels * (white / 255), np.float64).round()


def _text(head: bytes, values: npt.NDArray[Any]) -> bytes:
    return b"\n".join([head, *(b"%d" % value for value in values.ravel()), b""])


def _kinds() -> dict[str, tuple[bytes, Pixels]]:
    rgb, grey = PIL.Image.fromarray(RGB), PIL.Image.fromarray(GREY)
    few = rgb.quantize(60)
    few_rgb = np.asarray(few.convert("RGB"))
    grey_rgb = np.stack([GREY] * 3, -1)
    bits = grey.convert("1", dither=PIL.Image.Dither.NONE)
    bits_rgb = np.asarray(bits.convert("RGB"))
    wide = RGB[..., ::-1].astype(np.uint16) * 257
    kinds = {
        "PNG of 16 bits": (encoded(".png", wide), (wide >> 8)[..., ::-1].astype(np.uint8)),
        "TIFF of 16 bits": (encoded(".tiff", wide), (wide >> 8)[..., ::-1].astype(np.uint8)),
        "grey PNG of 16 bits": (encoded(".png", GREY.astype(np.uint16) * 257), grey_rgb),
        "grey PNG": (saved(grey, "PNG"), grey_rgb),
        "grey PNG with alpha": (saved(grey.convert("LA"), "PNG"), grey_rgb),
        "PNG with alpha": (saved(rgb.convert("RGBA"), "PNG"), RGB),
        "PNG with a palette": (saved(few, "PNG"), few_rgb),
        "PNG with a palette and a transparent entry": (saved(few, "PNG", transparency=2), few_rgb),
        "PNG of one bit": (saved(bits, "PNG"), bits_rgb),
        "animated PNG": (saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)]), RGB),
        "BMP": (saved(rgb, "BMP"), RGB),
        "BMP with a palette": (saved(few, "BMP"), few_rgb),
        "grey BMP": (saved(grey, "BMP"), grey_rgb),
        "BMP with alpha": (saved(rgb.convert("RGBA"), "BMP"), RGB),
        "WebP": (saved(rgb, "WEBP", lossless=True), RGB),
        "WebP with alpha": (saved(rgb.convert("RGBA"), "WEBP", lossless=True), RGB),
        "TIFF": (saved(rgb, "TIFF"), RGB),
        "TIFF with LZW": (saved(rgb, "TIFF", compression="tiff_lzw"), RGB),
        "TIFF with deflate": (saved(rgb, "TIFF", compression="tiff_adobe_deflate"), RGB),
        "TIFF with a palette": (saved(few, "TIFF"), few_rgb),
        "grey TIFF": (saved(grey, "TIFF"), grey_rgb),
        "TIFF of one bit": (saved(bits, "TIFF"), bits_rgb),
        "TIFF with alpha": (saved(rgb.convert("RGBA"), "TIFF"), RGB),
        "TIFF of two pages": (saved(rgb, "TIFF", save_all=True, append_images=[rgb.rotate(180)]), RGB),
        "BigTIFF": (saved(rgb, "TIFF", big_tiff=True), RGB),
        "PPM": (saved(rgb, "PPM"), RGB),
        "PGM": (saved(grey, "PPM"), grey_rgb),
        "PPM of 16 bits": (b"P6 36 24 65535\n" + (RGB.astype(">u2") * 257).tobytes(), RGB),
        "PGM of 12 bits": (b"P5 36 24 4095\n" + _of_white(GREY, 4095).astype(">u2").tobytes(), grey_rgb),
        "PGM of 10 bits": (
            b"P5\n# camera\n36 24\n1023\n" + _of_white(GREY, 1023).astype(">u2").tobytes(),
            grey_rgb,
        ),
        "PPM of 14 bits": (b"P6 36 24 16383\n" + _of_white(RGB, 16383).astype(">u2").tobytes(), RGB),
        "PGM of text": (_text(b"P2 36 24 1000", _of_white(GREY, 1000)), grey_rgb),
    }
    for name, picture in {
        "JPEG": rgb,
        "grey JPEG": grey,
        "CMYK JPEG": rgb.convert("CMYK"),
        "CMYK TIFF": rgb.convert("CMYK"),
    }.items():
        form = name.split()[-1]
        data = saved(picture, form, **({"quality": 98} if form == "JPEG" else {}))
        kinds[name] = (data, np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB")))
    data = saved(rgb, "JPEG", quality=98, progressive=True)
    kinds["progressive JPEG"] = (data, np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB")))
    return kinds


KINDS = _kinds()
"""By name, what people have: the file, and its pixels as RGB."""


def _refused() -> dict[str, bytes]:
    rgb = PIL.Image.fromarray(RGB)
    wide_bmp = bytearray(saved(rgb, "BMP"))
    wide_bmp[20] |= 0x80  # one flipped bit of the width
    tall_bmp = bytearray(saved(rgb, "BMP"))
    tall_bmp[23] |= 0x04
    jpeg = bytearray(saved(rgb, "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65500, 65500)
    progressive = bytearray(saved(rgb, "JPEG", progressive=True))
    progressive[progressive.index(b"\xff\xc2") + 5] ^= 0x80
    tall_jpeg = bytearray(saved(rgb, "JPEG"))
    tall_jpeg[tall_jpeg.index(b"\xff\xc0") + 5] ^= 0x80
    tiff = bytearray(encoded(".tiff", RGB))
    webp = saved(rgb, "WEBP", lossless=True)
    small_bmp = bytearray(saved(rgb, "BMP"))
    small_bmp[18] ^= 0x40  # 36 wide becomes 100
    png = bytearray(saved(rgb, "PNG"))
    png[60] ^= 1
    return {
        "PNG that states 60000x60000": png_that_states(60000, 60000),
        "PNG of one wrong bit": bytes(png),
        "BMP of one wrong bit in its width": bytes(wide_bmp),
        "BMP of another wrong bit in its width": bytes(small_bmp),
        "BMP of one wrong bit in its height": bytes(tall_bmp),
        "JPEG that states 65500x65500": bytes(jpeg),
        "progressive JPEG of one wrong bit in its height": bytes(progressive),
        "JPEG of one wrong bit in its height": bytes(tall_jpeg),
        "cut PNG": saved(rgb, "PNG")[:-40],
        "cut JPEG": saved(rgb, "JPEG")[:-40],
        "cut BMP": saved(rgb, "BMP")[:-40],
        "cut TIFF": saved(rgb, "TIFF")[:-400],
        "cut TIFF directory": bytes(tiff[:60]),
        "cut WebP": webp[:-20],
        "cut PPM": saved(rgb, "PPM")[:-40],
        "TIFF of floating point": encoded(".tiff", RGB.astype(np.float32) / 255),
        "GIF": saved(rgb, "GIF"),
        "JPEG 2000": saved(rgb, "JPEG2000"),
        "PDF": saved(rgb, "PDF"),
        "text": b"<html>404 not found</html>",
        "nothing": b"",
        "zeros": bytes(4096),
    }


REFUSED = _refused()
"""By name, what cannot be taken."""
