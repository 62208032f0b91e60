"""The host's own front end in a browser, driven as a user drives it.

It is found by roles and labels where it has them, and read through its global `app`; both are those
of front end 1.32, which comes with the packaged host.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.host.headless import PACK_NAME, Host

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Route

SHOTS = Path(__file__).parents[1] / "browser" / "output"
ACTION = 60_000  # ms; a busy machine draws slowly
RUN = 600_000  # ms; and paints more slowly still
READY = "window.app?.vueAppReady && app.extensionManager.workflow.activeWorkflow"
ACTIVE = "name => app.extensionManager.workflow.activeWorkflow.filename === name"
GRAPH = "JSON.stringify(app.graph.serialize())"
PROMPT = "async () => JSON.stringify((await app.graphToPrompt()).output)"
UNKNOWN = "types => types.filter(type => !(type in LiteGraph.registered_node_types))"
PROGRESS = (
    "id => { const { progress } = app.graph.getNodeById(id); return 0 < progress && progress < 1 }"
)
PICTURE = "id => app.graph.getNodeById(id).imgs?.at(-1)?.naturalWidth > 0"
CENTER = """id => {
    const { pos, size } = app.graph.getNodeById(id);
    const { x, y } = app.canvas.canvas.getBoundingClientRect();
    const { scale, offset } = app.canvas.ds;
    return [0, 1].map(i => (pos[i] + size[i] / 2 + offset[i]) * scale + [x, y][i]);
}"""
TRANSFER = """([name, type, data]) => {
    const bytes = Uint8Array.from(atob(data), each => each.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
    return transfer;
}"""


@contextmanager
def front_end(browser: Browser, host: Host) -> Iterator[FrontEnd]:
    """The front end in a tab of a fresh profile."""
    # past the host's content policy: a test sees what the front end asks others, and nobody answers
    context = browser.new_context(
        viewport={"width": 1600, "height": 1000}, locale="en-US", bypass_csp=True
    )
    context.set_default_timeout(ACTION)
    try:
        yield FrontEnd(context, f"http://{host.address}/")
    finally:
        context.close()


class FrontEnd:
    """A browser tab with the front end in it, ready for use.

    Attributes:
        asked: addresses outside of the host that the front end asked for, in vain.
    """

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.asked: list[str] = []
        context.route(lambda url: not url.startswith(address), self._refuse)
        self.page = context.new_page()
        self.dialog = self.page.get_by_role("dialog")
        self.page.goto(address)
        self.page.wait_for_function(READY)

    def _refuse(self, route: Route) -> None:
        self.asked.append(route.request.url)
        route.abort()

    def open_template(self, name: str) -> None:
        """Find one of the pack's templates in the template browser and open it."""
        self.page.get_by_role("button", name="Templates").click()
        self.dialog.get_by_text(PACK_NAME, exact=True).click()
        self.page.get_by_test_id(f"template-workflow-{name}").click()
        self._opened(name)
        if self.dialog.is_visible():  # it lists models that have yet to be downloaded
            self.page.keyboard.press("Escape")
            self.dialog.wait_for(state="hidden")

    def open_saved(self, name: str) -> None:
        """Open a workflow that was saved to the host, by its entry in the side bar."""
        self.page.get_by_role("button", name="Workflows (w)").click()
        self.page.get_by_role("treeitem", name=name).click()
        self._opened(name)

    def drop(self, file: Path) -> None:
        """Drag a file from the desktop onto the canvas."""
        data = base64.b64encode(file.read_bytes()).decode()
        kind = mimetypes.guess_type(file)[0]
        transfer = self.page.evaluate_handle(TRANSFER, [file.name, kind, data])
        self.page.dispatch_event("#graph-canvas", "drop", {"dataTransfer": transfer})
        self._opened(file.stem)

    def _opened(self, name: str) -> None:
        self.page.wait_for_function(ACTIVE, arg=name)
        self.page.wait_for_timeout(500)  # nodes get their final sizes when they are drawn

    def save(self, name: str) -> None:
        """Save the open workflow to the host under a new name."""
        self.page.keyboard.press("Control+s")
        self.dialog.get_by_role("textbox").fill(name)
        self.page.keyboard.press("Enter")
        self.page.wait_for_function(ACTIVE, arg=name)

    def paint_mask(self, node: int) -> None:
        """Replace the mask of a Load Image node by one stroke through the picture's middle."""
        self.wait_for_picture(node)
        self.page.mouse.click(*self.page.evaluate(CENTER, node), button="right")
        self.page.get_by_role("menuitem", name="Open in MaskEditor").click()
        self.dialog.get_by_role("button", name="Clear").click()
        box = self.dialog.locator("canvas").first.bounding_box()
        assert box is not None
        y = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + box["width"] * 0.4, y)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + box["width"] * 0.6, y, steps=8)
        self.page.mouse.up()
        self.shot("mask-editor")
        self.dialog.get_by_role("button", name="Save").click()
        self.dialog.wait_for(state="hidden")

    def run(self) -> None:
        """Queue the open workflow."""
        self.page.get_by_test_id("queue-button").click()

    def wait_for_progress(self, node: int) -> None:
        """Wait until a node shows its progress bar, neither empty nor full."""
        self.page.wait_for_function(PROGRESS, arg=node, timeout=RUN)

    def wait_for_picture(self, node: int) -> None:
        """Wait until a node shows a picture."""
        self.page.wait_for_function(PICTURE, arg=node, timeout=RUN)

    def graph(self) -> dict[str, Any]:
        """The open workflow as the front end saves it, without the view of the canvas."""
        graph = json.loads(self.page.evaluate(GRAPH))
        del graph["extra"]
        return graph

    def prompt(self) -> dict[str, Any]:
        """The open workflow as the front end queues it."""
        return json.loads(self.page.evaluate(PROMPT))

    def unknown(self, graph: dict[str, Any]) -> list[str]:
        """Node types of a graph that nobody has registered."""
        return self.page.evaluate(UNKNOWN, [node["type"] for node in graph["nodes"]])

    def fit(self) -> None:
        """Zoom until the whole graph is in view."""
        self.page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        self.page.wait_for_timeout(500)  # it glides there

    def shot(self, name: str) -> None:
        """Keep a screenshot, to be looked at."""
        self.page.wait_for_timeout(500)  # what has just changed is drawn
        self.page.screenshot(path=SHOTS / f"{name}.png")
