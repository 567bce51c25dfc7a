"""Machines of a test: network namespaces on one bridge, whose links can be cut. Needs root."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

NETWORKS = 256  # 198.18.0.0/16 is for tests of networks: RFC 2544
NOBODY = "02:00:00:00:00:01"  # a hardware address that no host has

DELAY = "netem delay 200ms loss 5%"
# For a kernel without netem: packets queue for up to 0.4 s, and what does not fit is lost.
NARROW = "tbf rate 128kbit burst 4kb latency 400ms"


@dataclass(frozen=True)
class Host:
    """`within` begins the command of a process that runs there."""

    namespace: str
    address: str

    @property
    def within(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace]


class Network:
    """Several run side by side: the name of the bridge decides who has which addresses.

    Raises
    ------
    RuntimeError: this machine or this user cannot have network namespaces.
    """

    def __init__(self) -> None:
        self._hosts: list[Host] = []
        links = Path("/sys/class/net")
        number = next(n for n in range(NETWORKS) if not (links / f"foldhouse{n}").exists())
        self._bridge = f"foldhouse{number}"
        _run(f"ip link add {self._bridge} type bridge")
        self._prefix = f"198.18.{number}"
        try:
            _run(f"ip address add {self._prefix}.1/24 dev {self._bridge}")
            _run(f"ip link set {self._bridge} up")
        except RuntimeError:
            self.close()
            raise

    def add_host(self) -> Host:
        number = len(self._hosts) + 2
        host = Host(f"{self._bridge}-{number}", f"{self._prefix}.{number}")
        _run(f"ip netns add {host.namespace}")
        self._hosts.append(host)
        _run(f"ip link add {host.namespace} type veth peer name eth0 netns {host.namespace}")
        _run(f"ip link set {host.namespace} master {self._bridge} up")
        _run(f"ip -n {host.namespace} address add {host.address}/24 dev eth0")
        for device in ("lo", "eth0"):
            _run(f"ip -n {host.namespace} link set {device} up")
        return host

    def cut(self, one: Host, other: Host) -> None:
        """Packets between them vanish without a refusal or a reset."""
        for near, far in ((one, other), (other, one)):
            _run(
                f"ip -n {near.namespace} neighbour replace {far.address} "
                f"lladdr {NOBODY} nud permanent dev eth0"
            )

    def heal(self, one: Host, other: Host) -> None:
        for near, far in ((one, other), (other, one)):
            _run(f"ip -n {near.namespace} neighbour del {far.address} dev eth0")

    def slow_down(self, host: Host) -> None:
        """What it sends comes late, and some of it never."""
        try:
            _run(f"tc -n {host.namespace} qdisc add dev eth0 root {DELAY}")
        except RuntimeError:
            _run(f"tc -n {host.namespace} qdisc add dev eth0 root {NARROW}")

    def speed_up(self, host: Host) -> None:
        _run(f"tc -n {host.namespace} qdisc del dev eth0 root")

    def close(self) -> None:
        """Ends the processes of all hosts."""
        for host in self._hosts:
            for pid in _run(f"ip netns pids {host.namespace}").split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            with suppress(RuntimeError):  # it was not made
                _run(f"ip link del {host.namespace}")
            _run(f"ip netns del {host.namespace}")
        _run(f"ip link del {self._bridge}")


def _run(command: str) -> str:
    try:
        done = subprocess.run(command.split(), capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise RuntimeError(f"{error.filename} is not installed") from error
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{command}: {error.stderr.strip()}") from error
    return done.stdout
