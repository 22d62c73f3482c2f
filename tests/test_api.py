"""The Python interface: every name of the package is what it says, whatever was imported before."""

import pkgutil
import subprocess
import sys

import hews_gpu


def test_no_submodule_takes_the_name_of_a_function():
    """Importing a submodule binds its name in the package, and would put the module in the function's place."""
    assert not {module.name for module in pkgutil.iter_modules(hews_gpu.__path__)} & set(hews_gpu.__all__)


def test_every_name_can_be_called_after_everything_was_loaded():
    script = (
        "import hews_gpu, hews_gpu.api, hews_gpu.cli.commands, hews_gpu.runs.train, hews_gpu.runs.backtest\n"
        "print([n for n in hews_gpu.__all__ if n != '__version__' and not callable(getattr(hews_gpu, n))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
