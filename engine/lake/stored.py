"""What can be wrong with a stored file, said in one way for folder and bucket."""

from __future__ import annotations

from engine.errors import LakeError
from engine.lake.package import PackageFile

RESTORE = "Restore that folder of the lake from a backup; `engine doctor` lists every package that is not as landed."


def missing(where: str, path: str, file: PackageFile) -> LakeError:
    """The file is not there."""
    return LakeError(f"{where}: package {path}: {file.name} is missing", RESTORE)


def truncated(where: str, path: str, file: PackageFile, size: int) -> LakeError:
    """The file is shorter than what was landed."""
    return LakeError(
        f"{where}: package {path}: {file.name} is truncated: {size:,} bytes of {file.bytes:,}",
        RESTORE,
    )


def changed(where: str, path: str, file: PackageFile) -> LakeError:
    """The file's bytes are not those that were landed."""
    return LakeError(
        f"{where}: package {path}: {file.name} was changed after it was landed (checksum differs)", RESTORE
    )


def manifest_missing(where: str, path: str) -> LakeError:
    """The whole package, or its manifest, is not there."""
    return LakeError(f"{where}: package {path} is missing (it has no manifest.json)", RESTORE)


def manifest_changed(where: str, path: str) -> LakeError:
    """The manifest is not the one that was committed."""
    return LakeError(f"{where}: package {path}: manifest.json was changed after it was landed", RESTORE)


def gap(where: str, folder: str, seq: int) -> LakeError:
    """An entry is gone although a later one exists."""
    return LakeError(
        f"{where}: entry {seq} is missing from {folder} although later ones exist, or is not its own",
        "Restore the folder _log of the lake from a backup; nothing may be landed or loaded over the gap.",
    )
