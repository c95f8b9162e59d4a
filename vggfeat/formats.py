"""Which image files are read: the formats, and the suffixes of their names. Free of Pillow and torch."""

__all__ = ["FORMATS", "SUFFIXES", "has_image_suffix"]

# Pillow's names. Only formats that need no other program; EPS would start one.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")

# The suffixes of these formats, in lower case. The only such list of the package.
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    *(".png", ".apng"),
    *(".gif", ".bmp", ".dib", ".webp"),
    *(".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *(".avif", ".avifs"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
}


def has_image_suffix(name: str) -> bool:
    """Whether the suffix of a file's name is that of an image format that is read.

    >>> has_image_suffix("holiday/IMG_1.JFIF"), has_image_suffix("notes.txt")
    (True, False)
    """
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return bool(stem and dot) and f".{suffix.lower()}" in SUFFIXES
