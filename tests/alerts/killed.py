"""Scripts that are begun and killed many times over: each loads once, and forks of it go on from there."""

import os
import signal
import subprocess
import sys

FORKS = """
import os, sys
while sys.stdin.readline():
    fork = os.fork()
    if not fork:
        break
    print(f"\\nended {os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])}", flush=True)
else:
    sys.exit()
print(f"ready {os.getpid()}", flush=True)
"""
"""What stands in a script between what it loads and what it does."""


class Forks:
    """A script in a process of its own, of which one fork at a time works."""

    def __init__(self, script: str, *arguments: object) -> None:
        command, pipes = [sys.executable, "-c", script, *map(str, arguments)], dict.fromkeys(("stdin", "stdout"), -1)
        self._process = subprocess.Popen(command, text=True, **pipes)

    def __enter__(self) -> "Forks":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def begin(self) -> int:
        """Let a fork begin; return its number."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        word, fork = self.line().split()
        assert word == "ready"
        return int(fork)

    def line(self) -> str:
        """Return the next line that is printed."""
        return self._process.stdout.readline()

    def kill(self, fork: int) -> list[str]:
        """Kill the fork; return the lines that it had printed and nobody has read, the last one perhaps torn."""
        os.kill(fork, signal.SIGKILL)
        lines = [self.line()]
        while not lines[-1].startswith("ended "):
            assert lines[-1], "the process that forks has ended"
            lines.append(self.line())
        assert lines.pop() == f"ended {-signal.SIGKILL}\n"
        return [line for line in lines if line.strip()]
