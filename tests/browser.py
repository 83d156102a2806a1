"""A headless Chromium that tests drive by its DevTools protocol, over a pipe: no package is needed for it.

The protocol: https://chromedevtools.github.io/devtools-protocol/, one JSON document a message, each ended by a zero byte.
"""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",  # by software, as --use-angle says, so that pictures do not depend on the machine
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--mute-audio",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--remote-debugging-pipe",
)
PATIENCE = 120.0  # seconds that an answer may take on a busy machine
KEY_CODES = {"Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def why_not() -> str:
    """Why no browser can be driven here; "" where one can."""
    if os.name != "posix":
        return "the browser is driven over pipes of POSIX"
    return "" if program() else f"no Chromium is installed (looked for {', '.join(PROGRAMS)})"


def program() -> str | None:
    """The path of a Chromium."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """A Chromium with one page."""

    def __init__(self, width: int = 1000, height: int = 700) -> None:
        self.profile = tempfile.mkdtemp(prefix="browser-")
        from_browser, its_out = os.pipe()
        its_in, to_browser = os.pipe()
        # The browser reads from descriptor 3 and writes to 4. The shell puts the pipes there, by way of two that are free.
        script = 'exec 8<"$1" 9>"$2"; shift 2; exec "$@" 3<&8 4>&9'
        words = [str(program()), *FLAGS, f"--user-data-dir={self.profile}", f"--window-size={width},{height}", "about:blank"]
        self.process = subprocess.Popen(
            ["sh", "-c", script, "sh", f"/dev/fd/{its_in}", f"/dev/fd/{its_out}", *words],
            pass_fds=(its_in, its_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(its_in)
        os.close(its_out)
        self._in, self._out = from_browser, to_browser
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []
        page = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Performance"):
            self.ask(f"{domain}.enable")
        self.resize(width, height)

    def resize(self, width: int, height: int, touch: bool = False) -> None:
        """Gives the page a size in pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=touch)

    def close(self) -> None:
        """Ends the browser, and removes its profile."""
        try:
            self._session = ""
            self.ask("Browser.close")
        except (OSError, EOFError):
            pass  # it is gone already
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self.profile, ignore_errors=True)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a call of the protocol. Events that come before it are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], PATIENCE)
            assert ready, f"the browser has not answered for {PATIENCE:.0f} s"
            more = os.read(self._in, 1 << 20)
            if not more:
                raise EOFError("the browser has ended")
            self._buffer += more
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def value(self, script: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it becomes."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, path: Path) -> int:
        """Opens a page of lpdif, and waits until it has drawn: the milliseconds that it says it took."""
        self.events.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            ready = self.value("document.body && document.body.dataset.ready || ''")
            if ready:
                return int(ready)
            assert not self.value("!!document.getElementById('trouble') && !document.getElementById('trouble').hidden"), self.complaints()
            time.sleep(0.05)
        raise AssertionError(f"the page is not ready after {PATIENCE:.0f} s: {self.complaints()}")

    def complaints(self) -> list[str]:
        """What the page has written to the console, and the errors that it has raised."""
        kinds = {"Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"}
        return [json.dumps(event["params"])[:500] for event in self.events if event.get("method") in kinds]

    def requests(self) -> list[str]:
        """The addresses that the page has asked for."""
        return [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]

    def picture(self) -> NDArray[np.uint8]:
        """(height, width, 3) what the page shows, after the next two frames."""
        from PIL import Image

        self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        data = base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def key(self, name: str) -> None:
        """Presses a key."""
        text = name if len(name) == 1 else ""
        code = KEY_CODES.get(name, ord(name.upper()) if name.isalnum() and len(name) == 1 else 0)
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=name, text=text if kind == "keyDown" else "", windowsVirtualKeyCode=code)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """One event of the mouse: mousePressed, mouseMoved, mouseReleased or mouseWheel."""
        self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float, count: int = 1) -> None:
        """Clicks at a pixel."""
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=count)

    def drag(self, start: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
        """Drags from one pixel to another."""
        buttons = {"left": 1, "right": 2}[button]
        self.mouse("mousePressed", *start, button=button, buttons=buttons, clickCount=1)
        for share in (0.25, 0.5, 0.75, 1.0):
            x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
            self.mouse("mouseMoved", x, y, button=button, buttons=buttons)
        self.mouse("mouseReleased", *end, button=button, clickCount=1)

    def touch(self, kind: str, *places: tuple[float, float]) -> None:
        """One event of fingers: touchStart, touchMove or touchEnd."""
        self.ask("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(places)])

    def press(self, element: str) -> None:
        """Clicks on the middle of an element, given by its id."""
        box = self.value(f"(() => {{ const e = document.getElementById({element!r}); e.scrollIntoView({{block: 'center'}}); "
                         "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()")  # fmt: skip
        self.click(*box)

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far, as Linux tells it."""
        ticks = 0
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(fields[3]) == self.process.pid:  # the session that it began
                ticks += int(fields[11]) + int(fields[12])
        assert ticks, "no process of the browser was found"
        return ticks / os.sysconf("SC_CLK_TCK")
