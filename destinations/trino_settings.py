"""The block of a `type: trino` destination: light to import, as destinations/settings.py."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from destinations.settings import DestinationSettings, server

S3 = "s3://"


class TrinoSettings(DestinationSettings):
    """Trino over an Iceberg catalog: a warehouse of its own, beside whatever else that Trino can query."""

    type: Literal["trino"] = Field(description="Iceberg tables through a Trino server")
    host: str = Field(default="127.0.0.1", description="host of Trino's coordinator")
    port: int = Field(default=8080, ge=1, le=65535, description="its HTTP port")
    scheme: Literal["http", "https"] = Field(default="http", description="https wherever a password is sent")
    user: str = Field(default="tickhouse", description="user that the statements run as")
    password: SecretStr | None = Field(
        default=None, description="password of that user (https only); write ${NAME}, never the word itself"
    )
    catalog: str = Field(
        default="lake", pattern="^[a-z][a-z0-9_]*$", description="Trino's Iceberg catalog that the tables are made in"
    )
    files: str = Field(
        description="where the loaded files lie, for Trino too: s3://bucket/prefix, or a folder of one machine"
    )
    endpoint: str | None = Field(default=None, description="with s3: http(s)://host:port of the server; without it AWS")
    region: str = Field(default="us-east-1", description="with s3: region that requests are signed for")
    access_key: SecretStr | None = Field(default=None, description="with s3: access key; write ${NAME}")
    secret_key: SecretStr | None = Field(default=None, description="with s3: secret key; write ${NAME}")

    def filled_database(self) -> str:
        """Server and catalog."""
        return f"{server(self.host, self.port)}/{self.catalog}"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.password and self.scheme == "http":
            raise ValueError("password: is sent over https only; set `scheme: https`")
        if self.files.startswith(S3) and not (self.access_key and self.secret_key):
            raise ValueError("files: on S3 need access_key and secret_key")
        return self
