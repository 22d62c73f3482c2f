"""The command `hews` by another clock: ``python hews_at.py INSTANT ARGUMENTS``.

Without a word it loads what `hews warn` needs and then forks for each line on standard input, a JSON object of the
arguments of `become`. It writes the fork's number, and after another line, once the fork has ended, its exit code.
"""

import json
import os
import sys
from datetime import datetime
from importlib import import_module

from hews_gpu.alerts import live
from hews_gpu.cli.commands import app

LOADED = (
    *("geopandas", "holidays", "scipy.stats", "sklearn.metrics"),
    *("hews_gpu.data.prepare.command", "hews_gpu.evaluation.judge", "hews_gpu.kernels.sums_cpu"),
)
"""What `hews warn` imports as late as it can, and takes long."""


def hews(instant, arguments):
    live.utc_now = lambda: datetime.fromisoformat(instant)
    app(arguments)


def become(instant, arguments, environ, folder, out, err):
    """Be `hews` in a folder and an environment, what it prints in files."""
    for number, path in enumerate((os.devnull, out, err)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    hews(instant, arguments)


def serve():
    for name in LOADED:
        import_module(name)
    while line := sys.stdin.readline():
        fork = os.fork()
        if fork == 0:
            return become(**json.loads(line))
        print(fork, flush=True)
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        hews(sys.argv[1], sys.argv[2:])
    else:
        serve()
