"""Secrets that are hard to quote, and where they are found again."""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import shlex
from pathlib import Path
from urllib.parse import quote, quote_plus

import yaml


def canary() -> str:
    """A secret that every layer has to quote: 24 random characters with / + % " ' and a space among them."""
    return f"{secrets.token_hex(6)}/+%\"' {secrets.token_hex(6)}"


def forms(secret: str) -> set[bytes]:
    """Every way in which the secret may stand in a file."""
    plain = secret.encode()
    found = {
        plain,
        plain.hex().encode(),
        plain.hex().upper().encode(),
        quote(secret, safe="").encode(),
        quote(secret).encode(),
        quote_plus(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        repr(secret)[1:-1].encode(),
        yaml.safe_dump(secret).strip().encode()[1:-1],
        shlex.quote(secret).encode(),
        secret.replace("'", "''").encode(),
        secret.encode("utf-16-le"),
        secret.encode("utf-16-be"),
    }
    for before in range(3):  # inside user:password, say
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"x" * before + plain)
            found.add(whole[4:-4])
    return found


def leaks(secret: str, text: str, folder: Path) -> list[str]:
    """Where a secret stands: in what a person saw, or in any file of the project but .env (compressed ones too)."""
    found = [f"output: {form!r}" for form in forms(secret) if form in text.encode("utf-8", "surrogatepass")]
    for path in folder.rglob("*"):
        if path.is_file() and path.name != ".env" and "extensions" not in path.parts:
            content = path.read_bytes()
            blobs = [content]
            if content[:2] == b"\x1f\x8b":
                blobs.append(gzip.decompress(content))
            found += [f"{path}: {form!r}" for form in forms(secret) for blob in blobs if form in blob]
    return found


def write_env(folder: Path, values: dict[str, str]) -> None:
    """A .env: the value's own quotes stay, only the outermost ones are taken off."""
    (folder / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    (folder / ".env").chmod(0o600)
