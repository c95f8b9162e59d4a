"""What files are, by their names and first bytes, and the names of subsets' folders. Free of Pillow and torch."""

from typing import Literal

__all__ = [
    "CAMERA_RAW",
    "FORMATS",
    "HEAD",
    "HEIC",
    "STORE",
    "SUBSETS",
    "SUFFIXES",
    "has_image_suffix",
    "is_hidden",
    "is_tar",
    "kind",
    "other_kind",
    "refusal",
    "subset_of",
    "suffix_of",
    "webp_size",
]

# Pillow's names. Only formats that need no other program; EPS would start one.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000")

# The suffixes of these formats, in lower case, and of HEIC, which pillow-heif reads. The only such list of the package.
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    *(".png", ".apng"),
    *(".gif", ".bmp", ".dib", ".webp"),
    *(".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *(".avif", ".avifs"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    *(".heic", ".heif", ".hif"),
}

STORE = ".vggfeat"  # the suffix of a store of descriptors, a folder that may lie beside images

HEAD = 512  # bytes that tell the kind of a file
HEIC, CAMERA_RAW, VIDEO, PAGE, SVG = "HEIC", "camera raw", "a video", "a web page (HTML)", "SVG"
ZIP, GZIP, LFS = "a zip archive", "a gzip file", "a Git LFS pointer"

_TO_JPEG = "which is not read; convert it to JPEG"
_TO_PNG = "which is not read; convert it to 8-bit PNG"
_DRAWING = "a drawing and not an image of pixels; convert it to PNG"
_UNPACK = "not an image; unpack it"

# What is not read -> why, and what to do.
_REFUSED = {
    HEIC: "which is read after `pip install pillow-heif`; or convert it to JPEG",
    CAMERA_RAW: _TO_JPEG,
    "JPEG XL": _TO_JPEG,
    "JPEG XR": _TO_JPEG,
    "PSD": _TO_JPEG,
    "ICO": _TO_PNG,
    "DICOM": _TO_PNG,
    "OpenEXR": _TO_PNG,
    SVG: _DRAWING,
    "EPS": _DRAWING,
    "PDF": "a document and not an image; save its pages as images",
    VIDEO: "not an image; save its frames as images",
    PAGE: "not an image; download the image again",
    LFS: "not the image itself; run `git lfs pull`",
    ZIP: _UNPACK,
    GZIP: _UNPACK,
}

# (place, bytes there, kind)
_SIGNS = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WEBP"),
    (8, b"CR\2\0", CAMERA_RAW),  # Canon's CR2, before TIFF, as which it begins
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"II\xbc\1", "JPEG XR"),
    (0, b"8BPS", "PSD"),
    (0, b"\0\0\1\0", "ICO"),
    (128, b"DICM", "DICOM"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"%!PS", "EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"%PDF-", "PDF"),
    (0, b"FUJIFILMCCD-RAW", CAMERA_RAW),
    (0, b"IIRO", CAMERA_RAW),  # Olympus
    (0, b"IIRS", CAMERA_RAW),
    (0, b"IIU\0", CAMERA_RAW),  # Panasonic
    (8, b"AVI ", VIDEO),
    (0, b"\x1aE\xdf\xa3", VIDEO),  # Matroska, WebM
    (0, b"\0\0\1\xba", VIDEO),  # MPEG
    (0, b"PK\3\4", ZIP),
    (0, b"\x1f\x8b", GZIP),
    (0, b"version https://git-lfs.github.com/spec/", LFS),
)

# The brand in the first box of ISO's media files; those of other brands are videos.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), HEIC),
    b"crx ": CAMERA_RAW,  # Canon's CR3
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
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")  # whose members are read
_OF_SYSTEMS = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"}  # files and folders, in lower case


def other_kind(name: str) -> _Kind | None:
    """What a file is that is not an image, by the suffix of its name; None if only its content can tell.

    >>> other_kind("IMG_1.JSON"), other_kind("photos.zip"), other_kind("IMG_1"), other_kind("IMG_1.jpg")
    ('table', 'archive', None, None)
    """
    return _OTHERS.get(suffix_of(name))


def is_tar(name: str) -> bool:
    """Whether a file's name is that of a tar archive that can be read.

    >>> is_tar("shard-000.TAR"), is_tar("photos.tar.gz"), is_tar("photos.tar.zst")
    (True, True, False)
    """
    return name.lower().endswith(_TARS)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden or belongs to a system such as Windows, by its name without folders."""
    return name.startswith(".") or name.lower() in _OF_SYSTEMS


def suffix_of(name: str) -> str:
    """The suffix of a file's name with its dot, in lower case; empty if it has none or is hidden."""
    stem, dot, suffix = name.rpartition("/")[2].rpartition(".")
    return f"{dot}{suffix.lower()}" if stem else ""


def kind(head: bytes) -> str | None:
    """What a file is, by its first HEAD bytes: one of FORMATS, or a kind that is not read, or None if unknown.

    >>> kind(b"%PDF-1.7"), kind(b"some text")
    ('PDF', None)
    """
    if head[4:8] == b"ftyp":
        also = head[16 : int.from_bytes(head[:4], "big")]  # the brands of other readers that can read the file
        return "AVIF" if b"avif" in also else _BRANDS.get(head[8:12], VIDEO)
    for place, sign, name in _SIGNS:
        if head.startswith(sign, place):
            return name
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return PAGE
    return SVG if text.startswith((b"<svg", b"<?xml", b"<!--")) and b"<svg" in text else None


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP image by its first HEAD bytes; None of another file."""
    part = head[12:16] if kind(head) == "WEBP" else b""
    if part == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if part == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    bits = int.from_bytes(head[21:25], "little")
    return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1) if part == b"VP8L" else None


def refusal(found: str | None) -> str:
    """Why a file of a kind is not read, and what to do.

    >>> refusal("PDF")
    'is PDF, a document and not an image; save its pages as images'
    """
    if found is None:
        return f"not an image ({', '.join(FORMATS)})"
    if found in FORMATS:
        return f"cannot be decoded (damaged, or {found} of a kind that Pillow does not read); save it as PNG"
    return f"is {found}, {_REFUSED[found]}"


# The names of the folders of subsets, in lower case; the longer ones are those of ILSVRC's archives.
SUBSETS = {
    "train": ("train", "training", "ilsvrc2012_img_train"),
    "val": ("val", "valid", "validation", "dev", "ilsvrc2012_img_val"),
    "test": ("test", "testing", "ilsvrc2012_img_test", "ilsvrc2012_img_test_v10102019"),
}


def subset_of(name: str) -> str | None:
    """The subset that a folder's name stands for; None if it is no such name.

    >>> subset_of("Validation"), subset_of("cats")
    ('val', None)
    """
    return next((subset for subset, names in SUBSETS.items() if name.lower() in names), None)
