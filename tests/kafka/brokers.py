"""Real Kafka brokers on loopback ports, of two kinds behind one class, and librdkafka's mock.

    with Broker("kafka-4", folder) as broker:      # or "kafka-3.9-zookeeper"
        Consumer({"bootstrap.servers": broker.bootstrap, ...})
        broker.kill()                              # SIGKILL, as a power cut would
        broker.restart()                           # same address, same data

The settings are those of deploy/kafka/, with addresses, folders and one or two times appended. A broker does not
outlive the process that started it, however that one ends.
"""

from __future__ import annotations

import base64
import contextlib
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.kafka.jars import Kind, require_broker
from tests.kafka.processes import Java, Port, end

SETTINGS = Path(__file__).resolve().parents[2] / "deploy" / "kafka"
GROUP = "kafka"
"""The xdist_group of every test that starts a broker: two cores do not carry more than one worker's."""
READY_SECONDS = 60.0


class Bootstrap(Protocol):
    """What a test needs of any broker: an address that answers while the block runs."""

    @property
    def kind(self) -> str: ...
    @property
    def bootstrap(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Server(Protocol):
    """One of the two ways to run a broker: what is started before it, and what its settings say."""

    ports: tuple[Port, Port]
    """The broker's, for clients, and the one of whatever elects the controller."""

    def prepare(self) -> Path: ...
    def before_broker(self) -> None: ...
    def after_broker(self) -> None: ...


class Kraft:
    """Kafka 4: broker and controller in one process, over storage that is formatted first.

    With `passwords` by name, clients have to sign in with one of them; the broker itself does as the first.
    """

    def __init__(self, java: Java, passwords: Mapping[str, str]) -> None:
        self.java, self.ports, self.passwords = java, (Port(), Port()), passwords

    def prepare(self) -> Path:
        """Write the settings and format the storage; return the settings."""
        port, controller = self.ports
        protocol = "SASL_PLAINTEXT" if self.passwords else "PLAINTEXT"
        settings = _settings(
            self.java.folder,
            "server.properties",
            {
                **self._sign_in(),
                "listeners": f"{protocol}://127.0.0.1:{port.number},CONTROLLER://127.0.0.1:{controller.number}",
                "advertised.listeners": f"{protocol}://127.0.0.1:{port.number}",
                "controller.quorum.voters": f"1@127.0.0.1:{controller.number}",
                "broker.session.timeout.ms": "3000",  # a killed broker cannot come back sooner
                "broker.heartbeat.interval.ms": "500",
            },
        )
        cluster = "T" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]  # never an option's minus
        format_storage = self.java.command("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings))
        done = subprocess.run(format_storage, capture_output=True, text=True, timeout=READY_SECONDS, check=False)
        if done.returncode:
            raise RuntimeError(f"the storage of Kafka could not be formatted:\n{done.stdout}{done.stderr}")
        return settings

    def _sign_in(self) -> dict[str, str]:
        if not self.passwords:
            return {}
        (name, password), *_ = self.passwords.items()
        users = " ".join(f'user_{user}="{secret}"' for user, secret in self.passwords.items())
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return {
            "listener.security.protocol.map": "SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
                f'{module} required username="{name}" password="{password}" {users};'
            ),
        }

    def before_broker(self) -> None: ...

    def after_broker(self) -> None: ...


class WithZookeeper:
    """Kafka 3.9: ZooKeeper first, which outlives a killed broker as it does in a cluster."""

    def __init__(self, java: Java) -> None:
        self.java, self.ports = java, (Port(), Port())
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> Path:
        """Write the settings of both; return the broker's."""
        port, keeper = self.ports
        lines = {
            "clientPort": keeper.number,
            "clientPortAddress": "127.0.0.1",
            "dataDir": self.java.folder / "zookeeper",
            "tickTime": 500,  # the shortest session is two ticks
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "srvr,dump",
        }
        (self.java.folder / "zookeeper.properties").write_text("".join(f"{k}={v}\n" for k, v in lines.items()))
        return _settings(
            self.java.folder,
            "server-zookeeper.properties",
            {
                "listeners": f"PLAINTEXT://127.0.0.1:{port.number}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port.number}",
                "zookeeper.connect": f"127.0.0.1:{keeper.number}",
                "zookeeper.session.timeout.ms": "4000",  # a killed broker cannot come back sooner
            },
        )

    def before_broker(self) -> None:
        """Have ZooKeeper answer, without a session of an earlier life of the broker."""
        if self._process is None or self._process.poll() is not None:
            main = "org.apache.zookeeper.server.ZooKeeperServerMain"
            self._process = self.java.start("zookeeper", main, str(self.java.folder / "zookeeper.properties"))
        deadline = time.monotonic() + READY_SECONDS
        while "Zookeeper version" not in self._asked("srvr") or "/brokers/ids/1" in self._asked("dump"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"ZooKeeper did not start: {self.java.tail('zookeeper')}")
            time.sleep(0.05)

    def after_broker(self) -> None:
        if self._process is not None:
            end(self._process, signal.SIGKILL)  # it keeps nothing that the next start would miss

    def _asked(self, word: str) -> str:
        """The answer to one of ZooKeeper's four-letter words, empty if there is none."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[1].number), 2) as asking:
            asking.sendall(word.encode())
            return b"".join(iter(lambda: asking.recv(65536), b"")).decode()
        return ""


class Broker:
    """A single-node Kafka of one kind over a folder of its own; skips the test where the kind cannot be had."""

    def __init__(self, kind: Kind, folder: Path, passwords: Mapping[str, str] | None = None) -> None:
        """Prepare it; with `passwords` by name, which Kafka 4 knows here, clients have to sign in."""
        folder.mkdir(parents=True, exist_ok=True)
        self.kind = kind
        self.java = Java(require_broker(kind), folder)
        self.sign_in: dict[str, str] = {}
        for name, password in (passwords or {}).items():
            self.sign_in = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
            self.sign_in |= {"sasl.username": name, "sasl.password": password}
        self._server: Server = Kraft(self.java, passwords or {}) if kind == "kafka-4" else WithZookeeper(self.java)
        self._settings: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.bootstrap = f"127.0.0.1:{self._server.ports[0].number}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves all that it holds. Raises RuntimeError with the end of the log."""
        assert self._process is None, "already started"
        self._settings = self._settings or self._server.prepare()
        self._server.before_broker()
        self._process = self.java.start("broker", "kafka.Kafka", str(self._settings))
        deadline = time.monotonic() + READY_SECONDS
        while not (self._server.ports[0].answers() and _leads_all(self.bootstrap, self.sign_in, self.java.folder)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.kind} did not start: {self.java.tail('broker')}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL the broker; its ZooKeeper, if it has one, lives on. What it acknowledged is on disk."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that takes longer than STOP_SECONDS; nothing of it runs afterwards."""
        self._end(signal.SIGTERM)
        self._server.after_broker()

    def restart(self) -> None:
        """Start it again, after ending it in order if it still runs: same address, same data."""
        self._end(signal.SIGTERM)
        self.start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            end(self._process, how)
            self._process = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()  # the folder is the test's: nothing is worth an orderly end
        self._server.after_broker()
        for port in self._server.ports:
            port.close()


class MockBroker:
    """librdkafka's own mock inside this process: ready in 20 ms, for tests that need no durability.

    Any client of this machine can connect to it while it runs. A topic is there, with four partitions, once a client
    asks for its metadata; topics cannot be administered, and of what is unread it keeps some 230,000 messages.
    """

    kind = "mock"

    def __init__(self) -> None:
        self._handle: Producer | None = None
        self.bootstrap = ""

    def start(self) -> None:
        """Start it; its address is another one each time."""
        self._handle = Producer({"test.mock.num.brokers": 1, "log_level": 0})
        (broker,) = self._handle.list_topics(timeout=READY_SECONDS).brokers.values()
        self.bootstrap = f"{broker.host}:{broker.port}"

    def stop(self) -> None:
        """End it: it lives as long as the handle that made it."""
        self._handle = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _settings(folder: Path, name: str, changed: dict[str, str]) -> Path:
    """The product's settings with a test's own behind them; in a Java properties file the last line wins."""
    lines = {**changed, "log.dirs": str(folder / "data")}
    file = folder / name
    file.write_text((SETTINGS / name).read_text() + "".join(f"{key}={value}\n" for key, value in lines.items()))
    return file


def _leads_all(bootstrap: str, sign_in: Mapping[str, str], folder: Path) -> bool:
    """Whether the broker leads every partition that lies in its folder.

    A 3.9 that comes back answers with itself and no topics until the controller has told it what it leads.
    """
    try:
        found = AdminClient({**sign_in, "bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=5)
    except KafkaException:
        return False
    led = {
        f"{name}-{each.id}"
        for name, topic in found.topics.items()
        for each in topic.partitions.values()
        if each.leader >= 0
    }
    return bool(found.brokers) and led >= {each.name for each in (folder / "data").iterdir() if _is_partition(each)}


def _is_partition(folder: Path) -> bool:
    """`<topic>-<number>`: one that is being deleted ends in other letters; the metadata log is nobody's topic."""
    return folder.name.rpartition("-")[2].isdigit() and not folder.name.startswith("__cluster_metadata")
