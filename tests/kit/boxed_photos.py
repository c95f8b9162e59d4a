"""Photos with boxes: CSV files, XML annotations and kits of VOC."""

from pathlib import Path

from PIL import Image

HEADER = "path,label,x0,y0,x1,y1"


def photo(file: Path, width: int = 40, height: int = 30) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(file, format="JPEG")


def table(top: Path, *rows: str, header: str = HEADER, photos: str = "images") -> Path:
    """boxes.csv with its photos, 40x30."""
    for row in rows:
        photo(top / photos / row.split(",")[0])
    (top / "boxes.csv").write_text("\n".join([header, *rows]) + "\n")
    return top / "boxes.csv"


def xml(file: Path, *objects: tuple[object, ...]) -> None:
    """An annotation with objects: name, xmin, ymin, xmax, ymax."""
    text = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for name, x0, y0, x1, y1 in objects
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"<annotation>{text}</annotation>")


def voc_kit(top: Path) -> Path:
    """VOC2012 with two photos of cats in train, one with a smaller dog beside, and one without objects."""
    kit = top / "VOCdevkit" / "VOC2012"
    (kit / "ImageSets/Main").mkdir(parents=True)
    (kit / "ImageSets/Main/train.txt").write_text("one\ntwo\nbare\n")
    for name in ("one", "two", "bare"):
        photo(kit / f"JPEGImages/{name}.jpg")
    xml(kit / "Annotations/one.xml", ("cat", 1, 1, 40, 30))
    xml(kit / "Annotations/two.xml", ("dog", 2, 3, 11, 12), ("cat", 1, 1, 20, 20), ("cat", 31, 21, 40, 30))
    return kit
