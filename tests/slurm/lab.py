"""A SLURM cluster of two nodes on this machine: real daemons, all files in one folder, nothing in /etc.

The nodes n1 and n2 are two `slurmd` with ports of their own, each with two processors and two GPUs that are only device
files. No accounting database: what a finished job's state was, SLURM itself forgets after `MinJobAge`, as on many small
clusters.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

NODES = ("n1", "n2")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
_WITH_US = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
"""What is put before a daemon's command, so that it ends also where the tests are killed."""
CLIENT_S = 30  # a client without its controller would wait for minutes
OVER = {
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL",
}  # fmt: skip

CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=100000,bf_interval=2
MpiDefault=none
JobRequeue=1
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=12
SlurmctldTimeout=30
KillWait=20
MinJobAge={remember_s}
GresTypes=gpu
{nodes}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=12:00:00 State=UP
PartitionName=cpu Nodes=n1,n2 MaxTime=12:00:00 State=UP
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=16 RealMemory=1000 Gres=gpu:4"


def why_no_lab() -> str:
    """What is missing here; empty if nothing is."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        packages = "apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge"
        return f"{', '.join(missing)} not installed ({packages})"
    return "" if os.geteuid() == 0 else "slurmd needs root to start jobs and to make device files"


class Lab:
    """The cluster, from `start` to `stop`.

    Args:
        folder: for everything of it; short, since the path of munge's socket is limited to 107 characters.
        remember_s: for how long SLURM knows of a job that is over.
    """

    def __init__(self, folder: Path, remember_s: int = 300) -> None:
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        host = socket.gethostname().split(".")[0]
        ports = _free_ports(1 + len(NODES))
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH", "HEWS_"))},
            "SLURM_CONF": str(folder / "slurm.conf"),
        }
        folder.chmod(0o755)  # munge wants its socket where every user can reach it
        for name in ("munge", "state"):
            (folder / name).mkdir(mode=0o755)
        gres = ["AutoDetect=off"]
        for name in NODES:
            for i in range(4):
                device = folder / f"dev-{name}" / f"nvidia{i}"
                device.parent.mkdir(exist_ok=True)
                os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
                gres.append(f"NodeName={name} Name=gpu File={device} Flags=nvidia_gpu_env")
        (folder / "gres.conf").write_text("\n".join(gres) + "\n")
        nodes = [NODE.format(name=name, host=host, port=port) for name, port in zip(NODES, ports[1:], strict=True)]
        text = CONF.format(host=host, ports=ports, folder=folder, nodes="\n".join(nodes), remember_s=remember_s)
        (folder / "slurm.conf").write_text(text)
        (folder / "munge" / "key").write_bytes(os.urandom(128))
        (folder / "munge" / "key").chmod(0o400)

    def start(self) -> None:
        """Start every daemon and wait until both nodes are idle."""
        munge = self.folder / "munge"
        paths = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self._daemon("munged", "--foreground", *(f"--{key}={munge / name}" for key, name in paths.items()))
        wait_for(lambda: (munge / "socket").exists(), 10, "munge's socket", self.logs)
        self._daemon("slurmctld", "-D", "-c")
        for name in NODES:
            self.start_node(name)
        wait_for(lambda: self.states() == ["idle", "idle"], 30, "two idle nodes", self.logs)

    def start_node(self, name: str) -> None:
        """Start the daemon of one node."""
        self._daemon("slurmd", "-D", "-N", name)

    def kill_node(self, name: str) -> None:
        """Let a node die at once: its daemon, and everything that was started on it."""
        parent = self.daemons[f"slurmd-{name}"]
        victims = [*_descendants(parent.pid), *self.processes(f"SLURMD_NODENAME={name}")]
        for pid in (parent.pid, *victims):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        parent.wait()

    def stop(self) -> None:
        """End every job and every process; the folder stays."""
        with suppress(subprocess.SubprocessError, AssertionError):  # whatever is left is killed below
            self.client("scancel", "--user=root")
            wait_for(lambda: not self.jobs(), 20, "the end of all jobs", self.logs)
        for daemon in reversed(list(self.daemons.values())):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self, *also: str) -> list[int]:
        """Processes that belong to this cluster: they were started with its SLURM_CONF, or by its daemons."""
        return processes_with(f"SLURM_CONF={self.folder / 'slurm.conf'}", *also)

    def client(self, *command: str, check: bool = True, cwd: Path | None = None, **env: str) -> str:
        """Run one of SLURM's client programs and return what it printed."""
        found = subprocess.run(
            command,
            env={**self.environment, **env},
            capture_output=True,
            text=True,
            timeout=CLIENT_S,
            check=False,
            cwd=cwd or self.folder,
        )
        if check and found.returncode:
            raise AssertionError(f"{' '.join(command)}: code {found.returncode}\n{found.stdout}{found.stderr}")
        return found.stdout

    def states(self) -> list[str]:
        """Of both nodes."""
        return self.client("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T", check=False).split()

    def jobs(self) -> list[str]:
        """Ids of the jobs that are not over."""
        return self.client("squeue", "--noheader", "--format=%A", check=False).split()

    def job(self, job: str) -> dict[str, str]:
        """What SLURM knows of a job."""
        words = self.client("scontrol", "show", "job", job).split()
        return dict(word.partition("=")[::2] for word in words if "=" in word)

    def wait(self, job: str, timeout_s: float = 120, states: Iterable[str] = OVER) -> dict[str, str]:
        """Wait until a job is over, or in one of `states`."""
        wanted = set(states)
        found: dict[str, str] = {}

        def is_there() -> bool:
            found.update(self.job(job))
            return found["JobState"] in wanted

        wait_for(is_there, timeout_s, f"job {job} to be {' or '.join(sorted(wanted))}", lambda: f"{found}")
        return found

    def logs(self) -> str:
        """The last lines of each daemon's log."""
        parts = [f"--- {path.name}\n" + "\n".join(tail(path)) for path in sorted(self.folder.glob("*.log"))]
        return "\n".join(parts)

    def _daemon(self, program: str, *arguments: str) -> None:
        name = f"{program}-{arguments[-1]}" if "-N" in arguments else program
        path = _program(program)
        assert path is not None
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                [*_WITH_US, path, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C in a terminal is for the tests; they stop the daemons in order
            )


def wait_for(
    is_true: Callable[[], bool], timeout_s: float, what: str, more: Callable[[], str] = str, every_s: float = 0.2
) -> None:
    """Wait until something is true; the failure says for what was waited, and what `more` has to say."""
    until = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > until:
            raise AssertionError(f"waited {timeout_s:.0f} s for {what}\n{more()}")
        time.sleep(every_s)


def tail(path: Path, lines: int = 15) -> list[str]:
    """The last lines of a file; none where there is no such file."""
    return path.read_text(errors="replace").splitlines()[-lines:] if path.is_file() else []


def processes_with(*settings: str) -> list[int]:
    """Processes in whose environment all of `settings` (NAME=value) stand."""
    found = []
    wanted = [setting.encode() for setting in settings]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                words = (entry / "environ").read_bytes().split(b"\0")
                if all(setting in words for setting in wanted):
                    found.append(int(entry.name))
    return found


def _descendants(pid: int) -> list[int]:
    """The children of a process, theirs and so on."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
