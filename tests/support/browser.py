"""Controls a headless chromium through two pipes, with the Chrome DevTools protocol.

So a test needs no socket, no WebDriver and no other package than the browser.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
]
_KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39}

LOW_CONTRASTS = """
(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = one => {
    for (let at = one; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const words = [...document.querySelectorAll('body *')].filter(
    one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()) && one.checkVisibility());
  return [...new Set(words.map(one => {
    const style = getComputedStyle(one);
    const ink = numbers(one.closest('svg') ? style.fill : style.color);
    const [low, high] = [light(ink), light(ground(one))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05) < 4.5 ? `${one.tagName}.${one.className}` : '';
  }))].filter(Boolean);
})()
"""
"""JavaScript expression: the tags and classes of all visible texts that stand out too little from their ground."""


class Tab:
    """One page in the browser; ``events`` are the events that the browser has sent about the page."""

    def __init__(self, process: "subprocess.Popen[bytes]", reads: int, writes: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._process = process
        self._reads, self._writes = reads, writes
        self._buffer, self._count = b"", 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._reads, 1 << 16)
            assert part, f"chromium ended with {self._process.wait()}"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def open(self, path: Path, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=path.absolute().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script: str) -> Any:
        """Evaluate a JavaScript expression, wait if it is a promise, and return its value as parsed from JSON."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Evaluate an expression until it is true; fail if this takes more than half a minute."""
        end = time.monotonic() + 30
        while not self.run(script):
            assert time.monotonic() < end, f"not true in time: {script}"
            time.sleep(0.01)

    def press(self, key: str, *, shift: bool = False) -> None:
        fields = {"key": key, "windowsVirtualKeyCode": _KEYS[key], "modifiers": 8 if shift else 0}
        text = {"Enter": "\r", " ": " "}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown", **fields, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **fields)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def complaints(self) -> list[dict[str, Any]]:
        """Return the events about problems: exceptions, console messages, and issues that the browser reports."""
        found = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Audits.issueAdded")
        return [event for event in self.events if event.get("method") in found]

    def requests(self) -> list[str]:
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """Start the browser with an empty profile, and yield its page; at the end of the block, the browser has ended."""
    assert CHROMIUM is not None
    to_browser, from_browser = os.pipe(), os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (to_browser[0], from_browser[1])]  # to be copied to 3 and 4
    command = [
        "bash",
        "-c",
        f'exec "$0" "$@" 3<&{high[0]} 4>&{high[1]}',
        CHROMIUM,
        *_FLAGS,
        f"--user-data-dir={profile}",
    ]
    with (profile.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(command, pass_fds=high, stdout=log, stderr=log)
    for fd in (*high, to_browser[0], from_browser[1]):
        os.close(fd)
    try:
        yield Tab(process, from_browser[0], to_browser[1])
    finally:
        process.kill()
        process.wait()
        os.close(from_browser[0])
        os.close(to_browser[1])
