"""A headless ComfyUI on the CPU with this pack in it, driven over HTTP and websocket."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import websocket
from PIL import Image

from lab import PACK

logger = logging.getLogger(__name__)

PACK_NAME = "comfyui-exemplar"
PICTURES = PACK / "example_workflows" / "pictures"
START_SECONDS = 180
REQUEST_SECONDS = 60

OnEvent = Callable[[str, dict[str, Any]], None]


class HostError(RuntimeError):
    """The host did not start, refused a prompt or failed on it."""


@contextmanager
def running_host(comfyui: Path, folder: Path, *arguments: str) -> Iterator[Host]:
    """Start a host on a free port of this machine, and stop it at the end.

    Args:
        comfyui: a ComfyUI tree; it stays untouched.
        folder: models, inputs, outputs and the host's log go here.
        arguments: more command-line arguments for the host.
    """
    install_pack(folder / "custom_nodes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(comfyui / "main.py"), "--cpu", "--port", str(port)]
    command += ["--base-directory", str(folder), "--disable-api-nodes", "--dont-print-server"]
    command += ["--database-url", "sqlite:///:memory:", "--preview-method", "auto", *arguments]
    log = folder / "host.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=comfyui, env=_environment()
        )
    host = Host(f"127.0.0.1:{port}", folder)
    try:
        _wait_until_ready(host, process, log)
        yield host
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def install_pack(custom_nodes: Path) -> None:
    """Put this pack into a host's custom_nodes, as a link where the system allows one."""
    target = custom_nodes / PACK_NAME
    custom_nodes.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        target.symlink_to(PACK, target_is_directory=True)
    except OSError:
        shutil.copytree(PACK, target, ignore=shutil.ignore_patterns(".*", "__pycache__"))


def _environment() -> dict[str, str]:
    # a host must not reach out while it works, and must not write into the pack's folder
    return os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def _wait_until_ready(host: Host, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            host.get("system_stats")
            return
        except requests.ConnectionError:
            time.sleep(0.5)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise HostError(f"ComfyUI did not start; the end of {log}:\n{tail}")


@dataclass(frozen=True)
class Host:
    """A running host."""

    address: str
    folder: Path

    def get(self, route: str, **query: str) -> Any:
        """JSON answer of a GET route."""
        answer = requests.get(
            f"http://{self.address}/{route}", params=query, timeout=REQUEST_SECONDS
        )
        answer.raise_for_status()
        return answer.json()

    def post(self, route: str, body: dict[str, Any]) -> requests.Response:
        """Answer of a POST route that takes JSON."""
        return requests.post(f"http://{self.address}/{route}", json=body, timeout=REQUEST_SECONDS)

    def upload(self, image: Path | Image.Image, name: str) -> str:
        """Put a picture into the host's input folder; returns its name there."""
        data = io.BytesIO()
        if isinstance(image, Path):
            data.write(image.read_bytes())
        else:
            image.save(data, "PNG")
        data.seek(0)
        answer = requests.post(
            f"http://{self.address}/upload/image",
            files={"image": (name, data)},
            data={"overwrite": "true"},
            timeout=REQUEST_SECONDS,
        )
        answer.raise_for_status()
        return answer.json()["name"]

    def upload_pictures(self) -> None:
        """Put everything that the workflows load into the host's input folder."""
        for path in PICTURES.iterdir():
            if path.suffix in (".png", ".mp4"):
                self.upload(path, path.name)

    def interrupt(self) -> None:
        """Stop the prompt that is running."""
        self.post("interrupt", {}).raise_for_status()

    def run(self, prompt: dict[str, Any], on_event: OnEvent | None = None) -> dict[str, Any]:
        """Queue a prompt in API format and wait for its end.

        Args:
            prompt: the graph.
            on_event: called with each websocket event (type, data) of this prompt; previews come
                as ("preview", {"bytes": …}).

        Returns:
            The prompt's outputs by node id.

        Raises:
            HostError: refused, failed or interrupted, with the host's message.
        """
        client = uuid.uuid4().hex
        stream = websocket.create_connection(
            f"ws://{self.address}/ws?clientId={client}", timeout=REQUEST_SECONDS * 10
        )
        try:
            answer = self.post("prompt", {"prompt": prompt, "client_id": client})
            if answer.status_code != 200 or answer.json().get("node_errors"):
                raise HostError(_refusal(answer.json()))
            prompt_id = answer.json()["prompt_id"]
            for kind, data in _events(stream):
                if data.get("prompt_id", prompt_id) != prompt_id:
                    continue
                if on_event is not None:
                    on_event(kind, data)
                if kind == "execution_error":
                    raise HostError(data["exception_message"].strip())
                if kind == "execution_interrupted":
                    raise HostError("interrupted")
                if kind == "execution_success":
                    return self._history(prompt_id)["outputs"]
        finally:
            stream.close()
        raise HostError("the host closed the connection")

    def _history(self, prompt_id: str) -> dict[str, Any]:
        # the host announces success a moment before it files the history
        while not (history := self.get(f"history/{prompt_id}")):
            time.sleep(0.05)
        return history[prompt_id]

    def output(self, entry: dict[str, str]) -> Path:
        """Path of a file that an output or preview node names."""
        return self.folder / entry["type"] / entry["subfolder"] / entry["filename"]


def _events(stream: websocket.WebSocket) -> Iterator[tuple[str, dict[str, Any]]]:
    while True:
        message = stream.recv()
        if isinstance(message, bytes):
            yield "preview", {"bytes": message}
        elif message:
            event = json.loads(message)
            yield event["type"], event["data"]
        else:
            return


def _refusal(answer: dict[str, Any]) -> str:
    reasons = [
        f"{node['class_type']}: {error['message']} ({error['details']})"
        for node in answer.get("node_errors", {}).values()
        for error in node["errors"]
    ]
    return "; ".join(reasons) or answer["error"]["message"]
