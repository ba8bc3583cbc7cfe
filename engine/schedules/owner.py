"""Whose deployments these are: a tag of the project, for on one server there may be several projects of one name.

A lake in a bucket is known by its address, from whatever machine; any other project by an id in its data folder.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from typing import TYPE_CHECKING

from engine.config.models import S3Lake

if TYPE_CHECKING:
    from engine.config.project import Project

PREFIX = "tickhouse:"
ID = re.compile(r"[0-9a-f]{12}\Z")


def owner_tag(project: Project) -> str:
    """Return `tickhouse:` and twelve hexadecimal digits, the same at every call."""
    lake = project.profile.lake
    if isinstance(lake, S3Lake):
        address = f"{lake.endpoint or 'aws'}/{lake.bucket}/{lake.prefix.strip('/')}"
        return PREFIX + hashlib.sha256(address.encode()).hexdigest()[:12]
    return PREFIX + _kept_id(project)


def _kept_id(project: Project) -> str:
    """The id that the data folder keeps; made now if it has none."""
    path = project.data_dir / "state" / "project-id"
    if path.exists() and ID.match(known := path.read_text(encoding="ascii", errors="replace").strip()):
        return known
    path.parent.mkdir(parents=True, exist_ok=True)
    made = secrets.token_hex(6)
    whole = path.with_name(f"{path.name}.{os.getpid()}.new")
    whole.write_text(f"{made}\n", encoding="ascii")
    whole.replace(path)
    return made
