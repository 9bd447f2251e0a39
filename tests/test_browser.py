"""The notebooks as a reader has them: in JupyterLab, run from the top, each slider moved by keyboard, and reset."""

import ast
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from conftest import in_chromium

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
pytestmark = in_chromium
PATIENCE = 180_000  # milliseconds, for a slow machine
ERROR = "[data-mime-type='application/vnd.jupyter.error']"
SETTINGS = {
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # all cells in the page, not only those in sight
    "apputils-extension/notification": '{"fetchNews": "false"}',
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab on copies of the notebooks, with settings of its own."""
    folder = tmp_path_factory.mktemp("lab")
    for path in ROOT.glob("notebooks/*.py"):
        shutil.copy(path, folder)
    for path in NOTEBOOKS:  # the ratings' one with fewer users, to save time
        text = path.read_text(encoding="utf-8")
        (folder / path.name).write_text(
            text.replace("users = 10_000 ", "users = 500 "), encoding="utf-8"
        )
    for name, text in SETTINGS.items():
        settings = folder / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        settings.parent.mkdir(parents=True)
        settings.write_text(text)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
               f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True",
               "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]  # fmt: skip
    places = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
              "JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}  # fmt: skip
    environment = os.environ | {name: str(folder / place) for name, place in places.items()}
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], stdout=log, stderr=log, env=environment
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/api")
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def sliders_of(path):
    """The sliders of the notebook's `explore(draw, name=Slider(...), ...)`: their code by name, and that cell's number."""
    cells = nbformat.read(path, as_version=4).cells
    number, source = next(
        (k, c.source)
        for k, c in enumerate(cells)
        if "explore(\n" in c.source or "explore(draw" in c.source
    )
    call = next(
        node
        for node in ast.walk(ast.parse(source))
        if getattr(getattr(node, "func", None), "id", "") == "explore"
    )
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}, number


class Lab:
    """A notebook open in JupyterLab."""

    KERNEL = "jupyterapp.shell.currentWidget.sessionContext.session?.kernel"

    def __init__(self, page, address, path):
        self.page = page
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/lab/tree/{path.name}?reset")
        page.wait_for_function(
            f"window.jupyterapp && jupyterapp.shell.currentWidget?.sessionContext && {self.KERNEL}?.status == 'idle'"
        )
        page.evaluate("jupyterapp.commands.execute('runmenu:run-all')")

    def kernel(self, expression):
        """The value of a Python expression in the notebook's kernel."""
        ask = f"code => {self.KERNEL}.requestExecute({{code: '', user_expressions: {{it: code}}}}).done"
        answer = self.page.evaluate(ask, expression)["content"]["user_expressions"]["it"]
        assert answer["status"] == "ok", answer
        return ast.literal_eval(answer["data"]["text/plain"])

    def wait_for(self, where, text):
        """Until the shown text is this one; what it is instead if it never is."""
        shown = self.page.locator(where)
        try:
            self.page.wait_for_function(
                "([where, text]) => document.querySelector(where)?.textContent.includes(text)",
                arg=[where, text],
            )
        except Exception:
            raise AssertionError(
                f"{text!r} does not appear; shown is {shown.all_text_contents()}"
            ) from None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_slider_redraws_the_figure_with_its_new_value(browser, lab, path):
    page = browser.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    opened = Lab(page, lab, path)
    sliders, number = sliders_of(path)
    cell = f".jp-Notebook .jp-Cell:nth-child({number + 1} of .jp-Cell)"
    caption = f"{cell} figcaption"
    page.wait_for_selector(f"{caption}, {ERROR}")
    assert page.locator(ERROR).count() == 0, page.locator(ERROR).first.text_content()

    def expected(values):
        return opened.kernel(f"draw(**{values!r})[1]")

    now = {name: opened.kernel(f"{code}.value") for name, code in sliders.items()}
    opened.wait_for(caption, expected(now))
    for place, (name, code) in enumerate(sliders.items()):
        handle = page.locator(f"{cell} .noUi-handle").nth(place)
        handle.focus()
        page.keyboard.press("ArrowRight")
        step = opened.kernel(f"{code}.step")
        now[name] = now[name] * 10**step if code.startswith("FloatLog") else now[name] + step
        opened.wait_for(caption, expected(now))
        # at rest, the picture has two pixels for each of the page
        page.wait_for_function(
            "where => (i => i?.complete && i.naturalWidth == 2 * i.width)(document.querySelector(where))",
            arg=f"{cell} figure img",
        )
    if "lr" in sliders:
        page.locator(f"{cell} .noUi-handle").nth(list(sliders).index("lr")).focus()
        page.keyboard.press("End")
        opened.wait_for(cell, "Stopped: the factors stopped being finite")
    page.locator(f"{cell} button", has_text="reset").click()
    opened.wait_for(
        caption, expected({name: opened.kernel(f"{code}.value") for name, code in sliders.items()})
    )
    assert (
        page.locator(f"{cell} figure img").get_attribute("alt")
        == page.locator(caption).text_content()
    )
    for player in page.locator(".player").all():
        player.locator("input").press("Home")
        first = player.locator("figcaption").text_content()
        player.locator("input").press("ArrowRight")
        assert (
            player.locator("input").input_value() == "1"
            and player.locator("figcaption").text_content() != first
        )
    assert page.locator(ERROR).count() == 0
    assert not [url for url in requests if not url.startswith((lab, "data:", "blob:"))]
    page.evaluate(f"{Lab.KERNEL}.shutdown()")
    page.close()
