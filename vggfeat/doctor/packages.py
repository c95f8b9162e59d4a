"""Python, the packages that vggfeat needs or can use, and what Pillow decodes."""

import platform
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from typing import NamedTuple

from vggfeat.doctor.check import AGAIN, NEEDED, Check, State, pip
from vggfeat.doctor.children import Answer, Question

ALL = "describe, extract, classify, bench, train, evaluate"
PYTHON = (3, 11)

# The packages that are always needed -> the oldest version; as in pyproject.toml.
REQUIRED: dict[str, tuple[int, ...]] = {
    "torch": (2, 8),
    **dict.fromkeys(("torchvision", "numpy", "scikit-learn", "scipy", "pandas", "pyarrow"), ()),
    "typer": (0, 20),
    **dict.fromkeys(("docstring-parser", "tqdm", "joblib"), ()),
    "pillow": (11,),
    **dict.fromkeys(("safetensors", "msgspec", "h5py", "jinja2", "matplotlib", "fsspec"), ()),
}
IMPORTED = ("msgspec", "safetensors", "h5py", "scipy", "pandas")  # those of them with compiled parts that load fast
FAISS = ("faiss-gpu", "faiss-cpu", "faiss-gpu-cu12", "faiss-gpu-cu11")  # all of them write the folder faiss


class Package(NamedTuple):
    """A package with a check of its own. module : what is imported. without : what cannot be done without it."""

    name: str
    module: str
    without: str


MAIN = [
    Package("torch", "torch", ALL),
    Package("numpy", "numpy", ALL),
    Package("pyarrow", "pyarrow.parquet", "extract, export and bench: stores are Parquet files"),
]
EXTRAS = [
    Package("faiss", "faiss", "vggfeat index, above 20,000 photos"),
    Package("openTSNE", "openTSNE", "vggfeat explore"),
    Package("starlette", "starlette", "vggfeat explore"),
    Package("uvicorn", "uvicorn", "vggfeat explore"),
    Package("ray", "ray", "extract --engine ray"),
    Package("s3fs", "s3fs", "sources at s3://"),
    Package("gcsfs", "gcsfs", "sources at gs://"),
    Package("aiohttp", "aiohttp", "sources at http:// and https://"),
    Package("pillow-heif", "pillow_heif", "HEIC photos, as iPhones take them"),
]


def questions() -> dict[str, Question]:
    """The imports to try, the most important first."""

    def of(packages: Iterable[Package]) -> dict[str, Question]:
        return {one.name: Question("imports", (one.module,)) for one in packages if _versions(one)}

    codecs, packages = Question("codecs"), Question("imports", IMPORTED)
    return {"codecs": codecs, **of(MAIN), "packages": packages, **of(EXTRAS)}


def checks(answers: Mapping[str, Answer]) -> list[Check]:
    """Python, main packages, the others that are needed, codecs, extras."""
    return [
        _python(),
        *(_package(one, answers.get(one.name)) for one in MAIN),
        _packages(answers["packages"]),
        _codecs(answers["codecs"]),
        *(_package(one, answers.get(one.name)) for one in EXTRAS),
    ]


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] >= PYTHON:
        return Check("python", "ok", found, "all commands")
    return Check("python", "missing", found, "all commands", f"install Python {_dotted(PYTHON)} or later")


def _package(package: Package, answer: Answer | None) -> Check:
    """A package and its import; the answer is None if it is not installed."""
    name, without = package.name, package.without
    versions, word = _versions(package), _to_install(name)
    if answer is None:
        return Check(name, "missing", "not installed", without, pip("install", word))
    if len(versions) > 1:
        both = f"{' and '.join(versions)} are installed, and each has overwritten files of the other"
        return Check(name, "warning", both, without, f"{pip('uninstall', '-y', *versions)} && {pip('install', word)}")
    [(distribution, version)] = versions.items()
    found = " ".join([distribution] * (distribution != name) + [version or "of unknown version"])
    if _is_old(name, version):
        old = f"{found}, older than {_dotted(REQUIRED[name])}"
        return Check(name, "missing", old, without, pip("install", "--upgrade", word))
    return _of_import(Check(name, "ok", found, without), answer, word)


def _of_import(check: Check, answer: Answer, *words: str) -> Check:
    """The check of what is installed, after its import. Of what is not needed, an import may take its time."""
    if not answer.in_time:
        late = replace(check, found=f"{check.found}, import {answer.trouble}")
        return replace(late, state="warning", remedy=AGAIN) if check.name in NEEDED else late
    if not answer.trouble:
        return check
    found = f"{check.found}, cannot be imported: {answer.trouble}"
    return replace(check, state="missing", found=found, remedy=pip("install", "--force-reinstall", *words))


def _packages(answer: Answer) -> Check:
    """The needed packages that have no check of their own."""
    found = {name: _version(name) for name in REQUIRED.keys() - {one.name for one in MAIN}}
    absent = sorted(name for name, version in found.items() if not version)
    old = sorted(name for name, version in found.items() if _is_old(name, version))
    if absent or old:
        words = [f"{name} is not installed" for name in absent] + [f"{name} {found[name]} is too old" for name in old]
        remedy = pip("install", "--upgrade", *map(_to_install, absent + old))
        return Check("packages", "missing", ", ".join(words), ALL, remedy)
    return _of_import(Check("packages", "ok", f"{len(found)} others that are needed", ALL), answer, *IMPORTED)


def _codecs(answer: Answer) -> Check:
    """The formats that Pillow decodes."""
    pillow, without = f"Pillow {_version('pillow')}".strip(), "images of all formats"
    if answer.value is None:
        return _of_import(Check("codecs", "ok", pillow, without), answer, "pillow")
    have = [name for name, found in answer.value.items() if found]
    lack = [name for name, found in answer.value.items() if not found]
    if not lack:
        return Check("codecs", "ok", f"{pillow}: {', '.join(have)}", without)
    found, without = f"{pillow}: {', '.join(have) or 'none'}; not {', '.join(lack)}", f"images of {', '.join(lack)}"
    state: State = "missing" if {"jpeg", "png"} & set(lack) else "warning"
    return Check("codecs", state, found, without, pip("install", "--force-reinstall", "--upgrade", "pillow"))


def _versions(package: Package) -> dict[str, str]:
    """Installed distribution -> version; a module that pip knows nothing of has an empty version."""
    names = FAISS if package.name == "faiss" else (package.name,)
    found = {name: version for name in names if (version := _version(name))}
    return found or ({package.name: ""} if find_spec(package.module.partition(".")[0]) else {})


def _version(distribution: str) -> str:
    """The version of an installed distribution; empty if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _is_old(name: str, version: str) -> bool:
    numbers = tuple(map(int, re.findall(r"\d+", version.partition("+")[0])))
    return bool(numbers) and numbers < REQUIRED.get(name, ())


def _to_install(name: str) -> str:
    """What pip takes for a package."""
    if name == "faiss":
        on_linux = sys.platform == "linux" and platform.machine() == "x86_64"
        return f"{'faiss-gpu' if on_linux else 'faiss-cpu'}>=1.14.3"
    return f"{name}>={_dotted(least)}" if (least := REQUIRED.get(name)) else name


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
