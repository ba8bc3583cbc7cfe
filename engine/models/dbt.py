"""dbt projects under transforms/dbt: which there are, and their place beside the native models in one SQLMesh context.

Only paths are looked at until there is a project: nothing of dbt is imported before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UsageError

if TYPE_CHECKING:
    from sqlmesh.core.config import Config

PROJECT_FILE = "dbt_project.yml"
PROFILE_FILE = "profiles.yml"
OUTPUTS = ("target", "logs")
"""Folders that dbt itself writes into a project; what stands there is no source."""
NEEDED = ("dbt.cli", "dbt.adapters.duckdb")
WAREHOUSES = frozenset({"duckdb"})
"""SQLMesh's connection types that dbt projects are built on here."""


def dbt_projects(transforms: Path) -> list[Path]:
    """Return the folders of the dbt projects: transforms/dbt itself, or else the folders in it that are one."""
    folder = transforms / "dbt"
    if (folder / PROJECT_FILE).is_file():
        return [folder]
    return sorted(found.parent for found in folder.glob(f"*/{PROJECT_FILE}"))


def model_files(transforms: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """Every file with one of `suffixes` that makes the models, in order.

    Left out are caches, what dbt writes, and the semantic catalogue, which only says what the models are called.
    """
    written = {project / name for project in dbt_projects(transforms) for name in OUTPUTS} | {transforms / "semantic"}
    for path in sorted(transforms.rglob("*")):
        kept = path.suffix in suffixes and ".cache" not in path.parts and written.isdisjoint(path.parents)
        if kept and path.is_file():
            yield path


def has_models(transforms: Path) -> bool:
    """Whether a project's folder `transforms` has a model; seeds alone, as of a list of assets, are none."""
    models = transforms / "models"
    return any(models.rglob("*.sql")) or any(models.rglob("*.py")) or bool(dbt_projects(transforms))


def with_dbt(transforms: Path, native: Config) -> dict[Path, Config]:
    """Return SQLMesh's configuration by folder: the native models', then that of each dbt project.

    A dbt project gets the native configuration with a loader of its own, so its models are planned, built and kept
    with the others. Raises UsageError when dbt is not installed, or the warehouse is one that it is not built on here.
    """
    projects = dbt_projects(transforms)
    if projects:
        _require(transforms, projects)
        _check_names(transforms, projects)
        _accept(native)
    return {transforms.absolute(): native, **{path.absolute(): dbt_config(path, native) for path in projects}}


def dbt_config(project: Path, native: Config) -> Config:
    """Return `native` as the configuration of one dbt project.

    SQLMesh caches models by whole seconds and by a hash of this: the hash of the files tells edits of one second apart,
    and projects whose files have the same names.
    """
    from engine.models.dbt_loader import project_loader

    files = hashlib.sha256(str(project.absolute()).encode())
    for path in sorted(project.rglob("*")):
        if path.is_file() and not any(part in OUTPUTS for part in path.relative_to(project).parts[:1]):
            files.update(str(path.relative_to(project)).encode())
            files.update(path.read_bytes())
    return native.model_copy(update={"loader": project_loader(), "loader_kwargs": {"files": files.hexdigest()}})


def notes(transforms: Path) -> list[str]:
    """What a person should know who brings a project along: its own connection is not used."""
    return [
        f"{path.relative_to(transforms.parent)} is not read: dbt models are built on the pipeline's own warehouse"
        for path in (project / PROFILE_FILE for project in dbt_projects(transforms))
        if path.exists()
    ]


def _require(transforms: Path, projects: Sequence[Path]) -> None:
    if not all(map(_installed, NEEDED)):
        raise UsageError(
            f"{projects[0].relative_to(transforms.parent)} is a dbt project, and dbt is not installed",
            'Install it with `pip install "tickhouse[dbt]"`, or move the project out of transforms/.',
        )


def _check_names(transforms: Path, projects: Sequence[Path]) -> None:
    """A project's name is its schema: two of one name, or a native schema's, would replace each other's models."""
    import yaml

    native = {path.name for path in (transforms / "models").glob("*/")}
    taken = dict.fromkeys({"landing", "sqlmesh", *native}, "the native models")
    for project in projects:
        file = (project / PROJECT_FILE).relative_to(transforms.parent)
        try:
            declared = yaml.safe_load((project / PROJECT_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UsageError(f"{file} cannot be read: {' '.join(str(error).split())[:300]}", "Correct it.") from error
        name = declared.get("name") if isinstance(declared, dict) else None
        if not isinstance(name, str) or not name:
            raise UsageError(f"{file} has no name", "Write `name: my_project`; it is the schema of its models too.")
        if name in taken:
            raise UsageError(f"{file}: the name {name} is that of {taken[name]}", "Give the dbt project another one.")
        taken[name] = str(file)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not there either
        return False


def _accept(native: Config) -> None:
    connections: Mapping[str, str] = {
        name: gateway.connection.type_ for name, gateway in native.gateways.items() if gateway.connection
    }
    for name, kind in connections.items():
        if kind not in WAREHOUSES:
            raise UsageError(
                f"dbt projects are not built on {name}, which is {kind}",
                "Move the project out of transforms/dbt, or use a ducklake or duckdb warehouse.",
            )
