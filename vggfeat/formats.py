"""Which image files are read: the formats, and the suffixes of their names. Free of Pillow and torch."""

from typing import Literal

__all__ = ["FORMATS", "SUFFIXES", "has_image_suffix", "is_hidden", "other_kind", "suffix_of"]

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
    return suffix_of(name) in SUFFIXES


_Kind = Literal["text or data", "table", "archive", "video"]
_KINDS: dict[_Kind, str] = {
    "text or data": (
        ".txt .text .md .rst .log .rtf .tex .bib .pdf .doc .docx .odt .ppt .pptx .htm .html .css .js .xml .yaml .yml "
        ".toml .cls .caption .xmp .aae .pp3 .dop .db .sqlite .ini .cfg .conf .url .lnk .nfo .py .ipynb .sh .bat "
        ".m .c .h .cpp .npy .npz .mat .h5 .hdf5 .pkl .pickle .pt .pth .safetensors .caffemodel .prototxt .tfrecord "
        ".lmdb .mdb .rec .md5 .sha1 .sha256 .sha512 .asc .sig .mp3 .m4a .wav .flac .ogg .aac"
    ),
    "table": ".csv .tsv .parquet .feather .arrow .json .jsonl .ndjson .lst .xls .xlsx .ods",
    "archive": ".zip .7z .rar .gz .bz2 .xz .zst .lz4 .tbz2 .txz",
    "video": ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .3gp .mts .m2ts .flv .ogv",
}
_OTHERS = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()}
_OF_SYSTEMS = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"}  # files and folders, in lower case


def other_kind(name: str) -> _Kind | None:
    """What a file is that is not an image, by the suffix of its name; None if only its content can tell.

    >>> other_kind("IMG_1.JSON"), other_kind("photos.zip"), other_kind("IMG_1"), other_kind("IMG_1.jpg")
    ('table', 'archive', None, None)
    """
    return _OTHERS.get(suffix_of(name))


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden, or is one that a system keeps for itself, by its name without folders."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def suffix_of(name: str) -> str:
    """The suffix of a file's name with its dot, in lower case; empty if it has none or is hidden."""
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return f"{dot}{suffix.lower()}" if stem else ""
