"""Where a request may go: checked addresses only, and the connection is made to the address that was checked."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from engine.errors import SourceError
from sources.http.deadline import watch

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether an address is one of the internet's. An IPv4 address inside an IPv6 one is judged by itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = list(_embedded(address))
        if inner:
            return all(is_public(each) for each in inner)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded(address: ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    if address in NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


class Guard:
    """Decides about addresses for one source. `exempt` are (host, port) that may be private: the market replay."""

    def __init__(self, source: str, *, allow_private: bool, exempt: frozenset[tuple[str, int]] = frozenset()) -> None:
        self.source = source
        self.allow_private = allow_private
        self.exempt = exempt

    def addresses(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """Resolve once. Raises SourceError if any address of the name is private: a public name has none."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        if not self.allow_private and (host, port) not in self.exempt:
            for *_, target in found:
                address = ipaddress.ip_address(str(target[0]).partition("%")[0])
                if not is_public(address):
                    raise self.refusal(host, str(address))
        return found

    def allows_literal(self, host: str) -> bool:
        """Whether a host written as an address is public. A name passes: a proxy resolves it, not this machine."""
        try:
            return self.allow_private or is_public(ipaddress.ip_address(host.strip("[]")))
        except ValueError:
            return True

    def refusal(self, host: str, address: str) -> SourceError:
        """Explain why this host is not asked."""
        return SourceError(
            self.source,
            f"{host} leads to {address}, which is not an address of the internet",
            "Name a public host in base_url, or say `allow_private: true` in the source's client.",
            terminal=True,
        )

    def connect(self, connection: HTTPConnection) -> socket.socket:
        """Open a socket to a checked address of the connection's host; urllib3's errors if none answers."""
        host, port = connection._dns_host.strip("[]"), connection.port  # noqa: SLF001 - what urllib3 itself dials
        try:
            found = self.addresses(host, port)
        except (socket.gaierror, UnicodeError) as error:
            reason = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
            raise NameResolutionError(host, connection, reason) from error
        failure: OSError | None = None
        for family, kind, protocol, _, target in found:
            try:
                return _dial(family, kind, protocol, target, connection)
            except TimeoutError as error:
                raise ConnectTimeoutError(connection, f"no connection to {host} in {connection.timeout} s") from error
            except OSError as error:
                failure = error
        raise NewConnectionError(connection, f"no connection to {host}:{port}: {failure}") from failure


def _dial(family: int, kind: int, protocol: int, target: Any, connection: HTTPConnection) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        for option in connection.socket_options or ():
            sock.setsockopt(*option)
        timeout = connection.timeout
        sock.settimeout(float(timeout) if isinstance(timeout, int | float) else None)
        sock.connect(target)
    except BaseException:
        sock.close()
        raise
    return sock


class _Watched(HTTPConnection):
    """A connection that a deadline can cut at any moment, even within the TLS handshake.

    TLS takes the socket over, so a duplicate of its descriptor is kept to shut the connection down with.
    """

    guard: Guard
    lifeline: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        sock = self.guard.connect(self)
        self.lifeline = sock.dup()
        watch(self.lifeline)
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.lifeline is not None:
            watch(self.lifeline)
        super().request(*args, **kwargs)

    def close(self) -> None:
        super().close()
        if self.lifeline is not None:
            self.lifeline.close()
            self.lifeline = None


class _WatchedSecure(_Watched, HTTPSConnection):
    """The same over TLS."""


def guarded_pools(the_guard: Guard) -> dict[str, type[HTTPConnectionPool]]:
    """Build urllib3's pool classes by scheme whose connections dial through the guard."""

    class Plain(_Watched):
        guard = the_guard

    class Secure(_WatchedSecure):
        guard = the_guard

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
