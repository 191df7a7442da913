"""A real Slurm of one or more nodes on this machine, started and stopped by this process, with everything it writes in one folder.

Every node is a slurmd of its own (`slurmd -N`, for which Slurm must have been built with --enable-multiple-slurmd, as Debian's is).

Needs root and the programs munged, slurmctld, slurmd and their commands (Debian: slurm-wlm and munge). It does
not touch the system's own configuration, keys or ports.
"""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
MEMORY = 11.0  # BatchStartTimeout and MessageTimeout
START = 60.0  # seconds for a daemon to come up
PR_SET_CHILD_SUBREAPER = 36

CONFIGURATION = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=10
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,batch_sched_delay=1
SlurmctldPort={controller}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
BatchStartTimeout=1
MessageTimeout=10
SlurmdTimeout={timeout}
ReturnToService=2
JobRequeue=1
KillWait=5
MinJobAge=300
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


class Missing(Exception):
    """Something that this machine lacks, said in one line."""


def check() -> None:
    """Raises Missing if a Slurm cannot be started here."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise Missing("a one-node Slurm needs root on Linux, for instance in a container of Debian")
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        raise Missing(
            f"{', '.join(absent)} cannot be found; install them: apt-get update && apt-get install slurm-wlm munge"
        )


class Nodes:
    """`with Nodes(folder, 2) as slurm`: commands of Slurm work in `slurm.environment` until the block ends; nodes are node1, node2 ..."""

    def __init__(self, folder: Path, count: int = 1, timeout: int = 30, cpus: int = 2):
        check()
        self.folder = folder
        self.names = tuple(f"node{number}" for number in range(1, count + 1))
        host = socket.gethostname().partition(".")[0]
        controller, *ports = free_ports(1 + count)
        lines = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=1000 State=UNKNOWN"
            for name, port in zip(self.names, ports, strict=True)
        ]
        text = CONFIGURATION.format(
            host=host, folder=folder, controller=controller, timeout=timeout, nodes="\n".join(lines)
        )
        self.configuration = folder / "slurm.conf"
        self.configuration.write_text(text)
        self.environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        self._daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Nodes":
        # What a dying slurmd leaves behind becomes a child of this process, and so can be found and ended.
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        try:
            self._start_munge()
            for name in ("state", *self.names):
                (self.folder / name).mkdir()
            self._start("slurmctld", "slurmctld", "-D", "-i")
            self.wait_for("slurmctld", lambda: "UP" in self.run("scontrol", "ping", check=False))
            for name in self.names:
                self.start_node(name)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def start_node(self, name: str = "node1") -> None:
        """Start slurmd and wait until the node takes work."""
        self._start(name, "slurmd", "-D", "-N", name)
        self.wait_for(f"the node {name}", lambda: self.state(name) in READY)

    def state(self, name: str) -> str:
        """What Slurm says of a node: idle, alloc, down, ..."""
        return self.run("sinfo", "--noheader", f"--nodes={name}", "--format=%t").strip()

    def kill_daemon(self, name: str = "node1") -> int:
        """SIGKILL slurmd alone: its tasks go on, as on a node that the network has lost; returns 1."""
        process = self._daemons.pop(name)
        process.kill()
        process.wait(timeout=20)
        return 1

    def kill_node(self, name: str = "node1") -> int:
        """SIGKILL slurmd with all that runs on the node, as when the power goes; returns how many processes.

        slurmctld looks for the jobs when the node is back, or gives it up after `timeout` seconds, and queues those again
        that had run for MEMORY seconds.
        """
        return self._kill(name)

    def run(self, *words: str, check: bool = True) -> str:
        """Output of a command of Slurm."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def wait_for(self, what: str, ready: Callable[[], bool], seconds: float = START) -> None:
        """Ask twice a second; raises TimeoutError with the ends of the logs."""
        end = time.monotonic() + seconds
        while not ready():
            for name, process in self._daemons.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}\n{self.logs()}")
            if time.monotonic() > end:
                raise TimeoutError(f"{what} is not ready after {seconds:.0f} s\n{self.logs()}")
            time.sleep(0.5)

    def logs(self, lines: int = 25) -> str:
        """The last lines of each daemon's log."""
        found = sorted(self.folder.glob("*.log"))
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
            for path in found
        )

    def stop(self) -> None:
        """End all jobs and daemons; nothing that was started here is left."""
        if "slurmctld" in self._daemons:
            with _quietly():
                self.run("scancel", "--state=PENDING", "--user=root", check=False)
                self.run("scancel", "--user=root", check=False)
        for name in (*self.names, "slurmctld", "munged"):
            self._kill(name)
        with _quietly():  # other children that ended meanwhile
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        folder.mkdir(mode=0o755)
        key = folder / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        files = {"key-file": key, "socket": folder / "socket", "pid-file": folder / "pid"}
        files |= {"seed-file": folder / "seed", "log-file": self.folder / "munged.log"}
        self._start(
            "munged",
            "munged",
            "--foreground",
            "--force",
            *(f"--{name}={path}" for name, path in files.items()),
        )
        self.wait_for("munged", lambda: (folder / "socket").exists())

    def _start(self, name: str, *words: str) -> None:
        output = open(self.folder / f"{name}.output.log", "ab")
        with output:
            self._daemons[name] = subprocess.Popen(
                words,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _kill(self, name: str) -> int:
        """SIGKILL a daemon and all its descendants, whoever adopted them."""
        process = self._daemons.pop(name, None)
        if process is None:
            return 0
        table = _processes()
        doomed = {process.pid}
        if name in self.names:
            doomed |= {
                pid for pid, (_, title) in table.items() if "slurmstepd" in title and self._serves(pid, name)
            }
        while grown := {pid for pid, (parent, _) in table.items() if parent in doomed} - doomed:
            doomed |= grown
        for fate in (signal.SIGSTOP, signal.SIGKILL):  # stopped first, so that none reports another's end
            for pid in doomed:
                with _quietly():
                    os.kill(pid, fate)
        process.wait(timeout=20)
        for pid in doomed - {process.pid}:
            with _quietly():
                os.waitpid(pid, 0)
        return len(doomed)

    def _serves(self, pid: int, name: str) -> bool:
        """Whether a step, which detaches from its slurmd, belongs to that node: it writes into the node's log."""
        log = str(self.folder / f"{name}.log")
        with _quietly():
            return any(os.readlink(handle) == log for handle in Path(f"/proc/{pid}/fd").iterdir())
        return False


READY = ("idle", "mix", "alloc")


class _quietly:
    """Let processes that are gone already be gone."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, *rest: object) -> bool:
        return kind is not None and issubclass(kind, (OSError, subprocess.SubprocessError))


def _processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with _quietly():
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(folder.name)] = (parent, title)
    return found


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()
