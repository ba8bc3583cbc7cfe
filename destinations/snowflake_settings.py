"""Snowflake's block in pipelines.yaml: light to import, so that `engine validate` stays fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from destinations.settings import DestinationSettings

WORD = r"^[A-Za-z_][A-Za-z0-9_$]*$"


class ExternalStage(BaseModel):
    """Where Snowflake itself reads the lake: nothing but CSV packages is uploaded then."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(
        description="the lake's bucket and prefix as Snowflake names them: s3://BUCKET/PREFIX",
        pattern=r"^(s3|s3gov|s3china)://[^'\s]+$",
    )
    storage_integration: str = Field(
        description="the integration that may read there, made by deploy/snowflake/external_stage.sql", pattern=WORD
    )


class SnowflakeSettings(DestinationSettings):
    """Snowflake: schema landing, loaded through an internal stage; the models run there."""

    answers_cost: ClassVar[bool] = True

    type: Literal["snowflake"] = Field(description="a database of a Snowflake account")
    account: str = Field(description="the account's identifier, ORGANIZATION-ACCOUNT", min_length=1)
    user: str = Field(description="the user, made by deploy/snowflake/setup.sql", min_length=1)
    private_key_file: str | None = Field(default=None, description="its private key, a PEM file (PKCS 8)")
    private_key_passphrase: SecretStr | None = Field(
        default=None, description="the passphrase of an encrypted key; write ${NAME}"
    )
    password: SecretStr | None = Field(default=None, description="instead of a key; write ${NAME}")
    database: str = Field(default="TICKHOUSE", description="the database", pattern=WORD)
    warehouse: str = Field(default="TICKHOUSE", description="the warehouse that loads", pattern=WORD)
    role: str = Field(default="TICKHOUSE", description="the role to take", pattern=WORD)
    host: str | None = Field(
        default=None, description="host name, where it is not the account's (PrivateLink, a proxy)"
    )
    port: int = Field(default=443, description="port of that host", ge=1, le=65535)
    protocol: Literal["https", "http"] = Field(default="https", description="http only to a proxy on this machine")
    login_seconds: int = Field(default=30, description="how long to try to log in", ge=1)
    network_seconds: int = Field(
        default=120, description="how long one request may stay unanswered; a statement takes what it takes", ge=1
    )
    statement_seconds: int = Field(default=3600, description="after which Snowflake ends a statement", ge=1)
    stage: ExternalStage | None = Field(
        default=None, description="where Snowflake reads the lake itself; without it files are put on an internal stage"
    )

    def filled_database(self) -> str:
        """Account and database."""
        return f"{self.host or self.account}:{self.port}/{self.database}".lower()

    @model_validator(mode="after")
    def has_one_secret(self) -> Self:
        """A key or a password, and not in the clear to another machine."""
        if (self.private_key_file is None) == (self.password is None):
            raise ValueError(
                "a Snowflake user needs a key or a password\nSet private_key_file (or password), and only one of them."
            )
        if self.protocol == "http" and self.host not in {"127.0.0.1", "localhost", "::1"}:
            raise ValueError("http would show the login to the network\nUse https, or a proxy on 127.0.0.1.")
        return self

    @property
    def where(self) -> str:
        """How an error names it."""
        return f"Snowflake account {self.account}, database {self.database}"

    def connection(self) -> dict[str, Any]:
        """Return the connector's arguments."""
        given: dict[str, Any] = {
            "account": self.account,
            "user": self.user,
            "database": self.database,
            "warehouse": self.warehouse,
            "role": self.role,
            "protocol": self.protocol,
            "port": self.port,
            "login_timeout": self.login_seconds,
            "network_timeout": self.network_seconds,
        }
        if self.host:
            given["host"] = self.host
        if self.password is not None:
            given["password"] = self.password.get_secret_value()
        if self.private_key_file is not None:
            given["authenticator"] = "SNOWFLAKE_JWT"
            given["private_key_file"] = str(Path(self.private_key_file).expanduser())
            passphrase = self.private_key_passphrase
            if passphrase is not None and passphrase.get_secret_value():  # empty: ${NAME:-} of a key without one
                given["private_key_file_pwd"] = passphrase.get_secret_value()
        return given
