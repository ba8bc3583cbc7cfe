"""The few S3 requests that a lake makes, through s3fs, with every failure said in the lake's words."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.config.models import S3Lake
from engine.errors import LakeError
from engine.lake.causes import lake_error

KEYS_REMEDY = "Check access_key and secret_key of the lake (its variables in the environment or .env) and their rights."
CLOCK_REMEDY = "Set this machine's clock (for example with chrony), then run again."
LOST_REMEDY = "Is the server running, and is `lake: endpoint:` right? Run again: nothing is lost or half-written."
BAD_REQUEST = "400"
SILENT_SECONDS, AGAIN = 20, 3
"""How long a server may say nothing, and how often it is asked again: four times as long, and the run ends."""
ENDPOINT = re.compile(r"https?://[^\s/]+/?\Z")
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
CODES = {
    "RequestTimeTooSkewed": ("the server refuses this machine's clock (it is off by minutes)", CLOCK_REMEDY),
    "SignatureDoesNotMatch": ("the server refuses the secret key", KEYS_REMEDY),
    "InvalidAccessKeyId": ("the server does not know the access key", KEYS_REMEDY),
    "InvalidBucketName": ("the bucket's name is not allowed", "Use 3 to 63 lower-case letters, digits and dashes."),
    "QuotaExceeded": ("no space left (the bucket's quota is used up)", "Raise the quota or clear space, run again."),
    "XMinioStorageFull": ("no space left on the server", "Clear space on the server, then run again."),
    "XMinioAdminBucketQuotaExceeded": ("no space left (the bucket's quota is used up)", "Raise the quota, run again."),
}


class Remote:
    """One bucket and prefix. `where` names it in errors; credentials never appear anywhere."""

    def __init__(self, settings: S3Lake) -> None:
        """Connects with the first request."""
        import s3fs

        if settings.endpoint and not ENDPOINT.match(settings.endpoint):
            raise LakeError(
                f"lake s3://{settings.bucket}: its endpoint is not an address",
                "Write `lake: endpoint:` as http://HOST:PORT or https://HOST.",
            )
        self.bucket, prefix = settings.bucket, settings.prefix.strip("/")
        self.prefix = f"{prefix}/" if prefix else ""
        self.where = f"lake s3://{self.bucket}/{prefix}".rstrip("/")
        self._fs = s3fs.S3FileSystem(
            key=settings.access_key,
            secret=settings.secret_key,
            endpoint_url=settings.endpoint,
            client_kwargs={"region_name": settings.region},
            config_kwargs={"connect_timeout": 10, "read_timeout": SILENT_SECONDS, "retries": {"max_attempts": AGAIN}},
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self._fs.retries = 1  # botocore's own are enough: each of s3fs's would do all of those again

    def read(self, path: str) -> bytes | None:
        """Return an object's bytes, None if there is none."""
        return self.read_many([path])[0]

    def read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        """Return many objects' bytes, fetched concurrently."""
        if not paths:
            return []
        keys = [self._key(path) for path in paths]
        with self._said():
            found = self._fs.cat(keys, on_error="return")
            answers = [found[key] for key in keys]
            for answer in answers:
                if isinstance(answer, Exception) and not isinstance(answer, FileNotFoundError):
                    raise answer
        return [None if isinstance(answer, Exception) else answer for answer in answers]

    def put(self, path: str, data: bytes) -> None:
        """Write an object, replacing one of that name."""
        with self._said():
            self._fs.pipe_file(self._key(path), data)

    def put_new(self, path: str, data: bytes) -> bool:
        """Write an object unless there is one of that name (If-None-Match); False if there is."""
        try:
            with self._said():
                self._fs.pipe_file(self._key(path), data, mode="create")
        except LakeError as error:
            if error_code(error.__cause__) in TAKEN or isinstance(error.__cause__, FileExistsError):
                return False
            raise
        return True

    def upload(self, source: Path, path: str) -> None:
        """Write a local file as an object, in parts if it is large."""
        with self._said():
            self._fs.put_file(str(source), self._key(path))

    def download(self, path: str, target: Path) -> bool:
        """Read an object into a local file; False if there is none."""
        try:
            with self._said():
                self._fs.get_file(self._key(path), str(target))
        except LakeError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return False
            raise
        return True

    def size(self, path: str) -> int | None:
        """Return an object's size in bytes, None if there is none."""
        try:
            answer = self._head("head_object", Key=self.prefix + path)
        except LakeError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        return int(answer["ContentLength"])

    def list(self, folder: str, after: str = "", *, folders: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the objects under a folder whose path comes behind `after` (with folders=True: its folders), in order.

        Each is {"path": ..., "modified": the server's time} or {"path": ...}, relative to the lake.
        """
        arguments: dict[str, Any] = {"Prefix": self.prefix + (f"{folder}/" if folder else "")}
        if after:
            arguments["StartAfter"] = self.prefix + after
        if folders:
            arguments["Delimiter"] = "/"
        while True:
            try:
                page = self.call("list_objects_v2", **arguments)
            except LakeError as error:
                if isinstance(error.__cause__, FileNotFoundError):  # no bucket yet
                    return
                raise
            for item in page.get("Contents", []) if not folders else []:
                yield {"path": item["Key"][len(self.prefix) :], "modified": item["LastModified"]}
            for item in page.get("CommonPrefixes", []) if folders else []:
                yield {"path": item["Prefix"][len(self.prefix) :].rstrip("/")}
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def remove(self, folder: str) -> None:
        """Remove every object under a folder, and uploads in parts that were never finished there."""
        for item in list(self.list(folder)):
            self.call("delete_object", Key=self.prefix + item["path"])
        with contextlib.suppress(LakeError):  # not every server lists them
            for upload in self.call("list_multipart_uploads", Prefix=f"{self.prefix}{folder}/").get("Uploads", []):
                self.call("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])

    def remove_object(self, path: str) -> None:
        """Remove one object; none is no error."""
        self.call("delete_object", Key=self.prefix + path)

    def make_bucket(self) -> None:
        """Create the bucket unless it is there. LakeError if that is not allowed."""
        try:
            self._head("head_bucket")
        except LakeError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            try:
                self.call("create_bucket")
            except LakeError as refused:
                if isinstance(refused.__cause__, FileExistsError):
                    return
                if not isinstance(refused.__cause__, PermissionError):
                    raise
                raise LakeError(
                    f"{self.where}: the bucket {self.bucket} does not exist and cannot be created: {refused.reason}",
                    f"Create the bucket {self.bucket}, or give the lake's access key the right to.",
                ) from refused

    def call(self, request: str, **arguments: Any) -> Any:
        """Make one S3 request on the bucket."""
        with self._said():
            return self._fs.call_s3(request, Bucket=self.bucket, **arguments)

    def _head(self, request: str, **arguments: Any) -> Any:
        """Make a HEAD request. S3 refuses one without a reason, so that a request which is told one is made then."""
        try:
            return self.call(request, **arguments)
        except LakeError as error:
            if isinstance(error.__cause__, PermissionError):
                self.call("list_objects_v2", Prefix=self.prefix, MaxKeys=1)
            raise

    def _key(self, path: str) -> str:
        return f"{self.bucket}/{self.prefix}{path}"

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        from aiohttp import ClientError as TransportError
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

        try:
            yield
        except (OSError, BotoCoreError, ClientError, TransportError, TimeoutError) as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> LakeError:
        from aiohttp import ClientError as TransportError
        from botocore.exceptions import BotoCoreError

        code = error_code(error)
        if code == BAD_REQUEST and not BUCKET_NAME.fullmatch(self.bucket):  # MinIO asked for its head: no reason comes
            code = "InvalidBucketName"
        if code in CODES:
            cause, remedy = CODES[code]
        elif isinstance(error, OSError) and error.errno is not None and not code:
            return lake_error(error, self.where, "/")
        elif isinstance(error, PermissionError):
            cause, remedy = "the server refuses the request (permission denied)", KEYS_REMEDY
        elif isinstance(error, FileNotFoundError):
            cause, remedy = f"not found: {error}", "Create the bucket, or correct `lake: bucket:` in pipelines.yaml."
        elif isinstance(error, (BotoCoreError, TransportError, ConnectionError, TimeoutError)):
            cause, remedy = f"the S3 server cannot be reached or stopped answering: {error}", LOST_REMEDY
        else:
            cause, remedy = f"the server says {code}: {error}", LOST_REMEDY
        return LakeError(f"{self.where}: {cause}", remedy)


def error_code(error: BaseException | None) -> str:
    """Return S3's error code behind an exception of s3fs, '' if there is none."""
    while error is not None:
        answer = getattr(error, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""
