"""Installed packages that do what a test wants when they are imported."""

from pathlib import Path

PILLOW = "def check(decoder): return decoder not in {lacks!r}"


def install(folder: Path, name: str, version: str = "99.0", *, module: str = "", code: str = "") -> None:
    """A package with pip's record of its version; an empty version is one that pip knows nothing of."""
    inside = folder / (module or name.replace("-", "_"))
    inside.mkdir(parents=True, exist_ok=True)
    (inside / "__init__.py").write_text(code)
    if version:
        record = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        record.mkdir()
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def install_all(folder: Path, names: set[str], *, lacks: tuple[str, ...] = ()) -> None:
    """Packages that can be imported. lacks : decoders without which Pillow was built."""
    for name in names - {"pillow"}:
        install(folder, name)
    install(folder, "pillow", module="PIL")
    (folder / "PIL" / "features.py").write_text(PILLOW.format(lacks=lacks))
    (folder / "pyarrow" / "parquet.py").touch()
