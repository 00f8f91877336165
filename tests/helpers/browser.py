"""A headless Chromium that tests look at pages with: its own DevTools protocol over a pipe, no driver and no port."""

import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.helpers.clocks import HANGS

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
PATIENCE = HANGS  # seconds for one answer; the first one waits for the browser to start


def find_browser():
    """Its path; where it is required a test without one fails, elsewhere it is skipped."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing = f"no browser: none of {', '.join(NAMES)} is on the path, and CHROMIUM is not set"
        if os.environ.get("MEANFIELD_REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@contextmanager
def browser(profile):
    """A running browser with a fresh profile in a folder."""
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()

    def at_three_and_four():  # where the browser expects its pipe
        # first out of the way: either end may itself be number 3 or 4
        ends = os.dup(to_browser), os.dup(from_browser)
        for number, end in zip((3, 4), ends, strict=True):
            os.dup2(end, number)

    process = subprocess.Popen(
        [find_browser(), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        preexec_fn=at_three_and_four,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Connection(commands, answers)
    finally:
        os.close(commands)  # it ends with its pipe
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(answers)


class Connection:
    """Commands to the browser, and everything it tells meanwhile."""

    def __init__(self, commands, answers):
        self._commands, self._answers = commands, answers
        self._buffer, self._last, self.events = b"", 0, []

    def call(self, method, session=None, **params):
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        give_up = time.monotonic() + PATIENCE
        while True:
            answer = self._next(give_up)
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def until(self, event, session):
        """Wait for an event that has not been waited for."""
        give_up = time.monotonic() + PATIENCE
        while not any(
            e.get("method") == event and e.get("sessionId") == session for e in self.events
        ):
            self.events.append(self._next(give_up))

    def _next(self, give_up):
        while b"\0" not in self._buffer:
            ready, _, _ = select.select(
                [self._answers], [], [], max(0.0, give_up - time.monotonic())
            )
            chunk = os.read(self._answers, 2**16) if ready else b""
            if not chunk:
                raise RuntimeError("the browser says nothing more")
            self._buffer += chunk
        answer, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(answer)

    def open(self, url):
        """A tab that has loaded the page."""
        return Tab(self, url)


class Tab:
    """A page in the browser, and what happened since it was opened."""

    def __init__(self, connection, url):
        self._connection = connection
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        answer = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = answer["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")
        connection.events.clear()
        self.call("Page.navigate", url=url)
        connection.until("Page.loadEventFired", self._session)

    _session = None

    def call(self, method, **params):
        return self._connection.call(method, self._session, **params)

    def evaluate(self, expression):
        """The value of a JavaScript expression, as JSON has it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def resize(self, width, height=900):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def prefer(self, media="", **features):
        """Emulate a medium, and preferences such as ``prefers_color_scheme="dark"``."""
        wanted = [
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()
        ]
        self.call("Emulation.setEmulatedMedia", media=media, features=wanted)

    def press(self, key):
        """A key, as from the keyboard."""
        codes = {"Tab": 9, "Enter": 13}
        text = {"text": "\r"} if key == "Enter" else {}
        about = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]} | text
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def events(self, *methods):
        """What the page told by these methods so far."""
        self.evaluate("0")  # whatever was under way has been told by its answer
        return [
            event["params"]
            for event in self._connection.events
            if event.get("sessionId") == self._session and event["method"] in methods
        ]
