"""No kernel needs a cache: whatever is wrong with the folder or the files in it, what comes out is right, and it is said once."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib import import_module
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import caching

import meanfield
from tests.helpers.clocks import HANGS

ROOT = Path(meanfield.__file__).parents[1]
NOBODY = 65534
STUDY = """
steps = 3
task = {name = "teacher_student", n = 20, input_dim = 2}
network = {width = 10}
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache module, with a folder of its own and nothing said yet."""
    module = import_module("solvers._kernels.cache")
    monkeypatch.setattr(module, "_said", [])
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    return module


def compiled(cache, function):
    dispatcher = numba.njit(function)
    dispatcher._cache = cache.Cache(function, function.__name__)
    return dispatcher


def twice(x):
    return 2.0 * x


def thrice(x):
    return 3.0 * x


def hits(dispatcher):
    return sum(dispatcher._cache_hits.values())


def files(tmp_path, suffix):
    return sorted((tmp_path / "cache").rglob(f"*{suffix}"))


def test_what_is_kept_is_found_again(cache):
    first, second = compiled(cache, twice), compiled(cache, twice)
    assert first(1.5) == second(1.5) == 3.0
    assert (hits(first), hits(second)) == (0, 1)
    assert cache._said == []


def no_locator(monkeypatch, cache, tmp_path):
    monkeypatch.setattr(cache._Files, "_locator_classes", [])


def no_room(code):
    def prepare(monkeypatch, cache, tmp_path):
        def write(self, name, data):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", write)

    return prepare


def folder_is_gone(monkeypatch, cache, tmp_path):
    def gone(self):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(cache._Kept, "_save_overload", lambda self, *arguments: gone(self))


def unknown_locator(monkeypatch, cache, tmp_path):
    if not hasattr(numba.config, "CACHE_LOCATOR_CLASSES"):
        pytest.skip("this numba has no such setting")
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "no.such.Locator")


TROUBLES = {
    "no folder": no_locator,
    "unknown locator": unknown_locator,
    "disk full": no_room(errno.ENOSPC),
    "quota": no_room(errno.EDQUOT),
    "read-only": no_room(errno.EROFS),
    "no permission": no_room(errno.EACCES),
    "gone": folder_is_gone,
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_kernel_compiles_without_a_cache_and_says_so_once(cache, trouble, monkeypatch, tmp_path):
    TROUBLES[trouble](monkeypatch, cache, tmp_path)
    with pytest.warns(UserWarning, match="set NUMBA_CACHE_DIR to a folder") as said:
        assert compiled(cache, twice)(1.5) == 3.0
    assert len(said) == 1
    assert compiled(cache, thrice)(1.5) == 4.5  # another warning would be an error


def test_the_warning_as_an_error_comes_once(cache, monkeypatch, tmp_path):
    no_locator(monkeypatch, cache, tmp_path)
    function = compiled(cache, twice)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            function(1.5)
        assert function(1.5) == 3.0


DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one byte": lambda content: content[:1],
    "noise": lambda content: np.random.default_rng(0).bytes(len(content)),
    "text": lambda content: b"No space left on device\n",
}


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_anew(cache, damage, suffix, tmp_path):
    assert compiled(cache, twice)(1.5) == 3.0
    (path,) = files(tmp_path, suffix)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    second, third = compiled(cache, twice), compiled(cache, twice)
    assert second(1.5) == third(1.5) == 3.0
    assert (hits(second), hits(third)) == (0, 1)


def test_an_index_without_its_data_names_nothing_that_another_source_left(
    cache, monkeypatch, tmp_path
):
    """numba writes the index first, and numbers data from 1 again when the source has changed."""
    assert compiled(cache, twice)(1.5) == 3.0
    (index,), (data,) = files(tmp_path, ".nbi"), files(tmp_path, ".nbc")
    index.unlink()  # as of a source of another time: what it says does not count
    old = data.read_bytes()
    with monkeypatch.context() as during:
        no_room(errno.ENOSPC)(during, cache, tmp_path)
        with pytest.warns(UserWarning, match="No space left"):
            assert compiled(cache, twice)(1.5) == 3.0
    assert data.read_bytes() == old
    assert files(tmp_path, ".nbi") == []  # nothing names the old code


@pytest.mark.slow
@pytest.mark.essential
def test_a_user_without_a_home_gets_no_folder_called_tilde(tmp_path):
    """As in a container whose user is a number only."""
    program = (
        "import os; os.path.expanduser = lambda path: path\n"
        "from numba.core import caching\n"
        "caching.InTreeCacheLocator.from_function = classmethod(lambda cls, f, path: None)\n"
        "import numpy as np\n"
        "from solvers._kernels.finite_volume import _collect\n"
        "_collect(np.ones(2), np.ones(2), np.zeros(2))\n"
    )
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr
    assert "compiled code cannot be kept" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def public_folder():
    """pytest's own are closed to other users."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can take another user's place",
)
def test_the_command_runs_as_a_user_who_can_write_nowhere_but_to_its_output(public_folder):
    if any(
        not folder.stat().st_mode & 1 for folder in (ROOT, *ROOT.parents, *public_folder.parents)
    ):
        pytest.skip("another user cannot get to the code or to the folder of the tests")
    (public_folder / "study.toml").write_text(STUDY)
    out = public_folder / "out"
    out.mkdir()
    os.chown(out, NOBODY, NOBODY)
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    command += [sys.executable, "-c", "from meanfield.study.cli.app import main; main()"]
    command += ["run", "study.toml", "--out", str(out), "--force"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent",
                   "NUMBA_CACHE_DIR": "/nonexistent/numba"}  # fmt: skip
    done = subprocess.run(
        command, env=environment, cwd=public_folder, capture_output=True, text=True, timeout=HANGS
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: compiled code cannot be kept (")
    assert line.endswith("set NUMBA_CACHE_DIR to a folder that can be written")
    assert (out / "run.h5").exists() and (out / "figures" / "loss.png").exists()
    assert not (public_folder / "~").exists()
