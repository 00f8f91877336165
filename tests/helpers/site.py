"""The built documentation: that of `.ci/run`, or one built here with its fast examples."""

import http.server
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.helpers.pages import DOCS


def site(folder):
    """The folder of the HTML files."""
    built = os.environ.get("MEANFIELD_SITE")
    if built:
        return Path(built)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-t", "fast"]
    done = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_arguments):
        pass


@contextmanager
def served(folder):
    """The address of a server on this machine."""
    handler = partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
