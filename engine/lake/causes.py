"""From what the operating system or the S3 server said to one sentence about the lake."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from engine.errors import LakeError

SPACE = "Free some space there or move the lake to a larger disk, then run again: nothing is lost or half-written."
FEW_INODES = 64
CAUSES = {
    errno.EDQUOT: ("the disk quota is used up, no space left", SPACE),
    errno.EROFS: ("the file system is read-only", "Mount it writable (see dmesg for a disk fault), then run again."),
    errno.EFBIG: ("a file grew past the limit (ulimit -f)", "Raise the file size limit of this user, then run again."),
    errno.EACCES: ("permission denied", "Let this user read and write the folder, then run again."),
    errno.EPERM: ("not permitted", "Let this user read and write the folder; the file system must allow hard links."),
    errno.EMFILE: ("too many open files (ulimit -n)", "Raise the limit of open files, then run again."),
    errno.ENFILE: ("too many open files on this machine", "Raise fs.file-max, then run again."),
    errno.EIO: ("the disk reports an input/output error", "Check the disk (dmesg); restore the lake if it is damaged."),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Correct `lake: path:` in pipelines.yaml."),
    errno.ELOOP: ("a part of the path is a symbolic link", "The lake follows no links inside it: put the folder back."),
    errno.ENAMETOOLONG: ("the path is too long", "Put the lake under a shorter path."),
    errno.ESTALE: ("the network file system lost the folder", "Mount it again, then run again."),
    errno.ENOENT: ("a folder vanished meanwhile", "Is the disk still mounted? Run again; then `engine doctor`."),
}


def _no_room(path: str) -> tuple[str, str]:
    """Tell a full disk from one without inodes: both say ENOSPC."""
    with contextlib.suppress(OSError):
        room = os.statvfs(path)
        # what failed was cleaned up by now, so a few inodes may be free again: ask which of the two is scarcer
        if (
            room.f_files
            and room.f_favail <= FEW_INODES
            and room.f_favail * room.f_blocks < room.f_bavail * room.f_files
        ):
            return "no inodes left (too many files; there may be space)", SPACE
    return "no space left", SPACE


def cause_of(error: Exception, path: str) -> tuple[str, str]:
    """Return (cause, remedy) of an OSError under a local path."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOSPC:
        return _no_room(path)
    if number in CAUSES:
        return CAUSES[number]
    words = os.strerror(number) if number else str(error)
    return words, "Run `engine doctor`, mend the cause, then run again."


def lake_error(error: OSError, where: str, path: str) -> LakeError:
    """Return the LakeError for an OSError; `where` is the lake as a person knows it, `path` a folder on its disk."""
    cause, remedy = cause_of(error, path)
    return LakeError(f"{where}: {cause}", remedy)


@contextlib.contextmanager
def named(where: str, path: str) -> Iterator[None]:
    """Turn every OSError of the block into a LakeError about `where`."""
    try:
        yield
    except OSError as error:
        raise lake_error(error, where, path) from error
