"""The notebooks as a reader has them: in JupyterLab, run from the top, each figure moved by keyboard, and reset."""

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
    for path in [*ROOT.glob("notebooks/*.py"), ROOT / "notebooks/live.js"]:
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
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        for node in ast.walk(ast.parse(cell.source)) if cell.source.startswith("explore(") else ():
            if getattr(getattr(node, "func", None), "id", "") == "explore":
                code = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                return code, number
    return {}, None


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

    def wait_for_the_end(self):
        """Until all cells have run, or one has failed."""
        self.page.wait_for_function(
            f"{self.KERNEL}.status == 'idle' && (document.querySelector(`{ERROR}`) || "
            "jupyterapp.shell.currentWidget.content.widgets.every(cell => "
            "cell.model.type != 'code' || cell.model.executionCount && cell.model.executionState != 'running'))"
        )

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
def test_each_slider_moves_its_figure(browser, lab, path):
    page = browser.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    opened = Lab(page, lab, path)
    opened.wait_for_the_end()
    assert page.locator(ERROR).count() == 0, page.locator(ERROR).first.text_content()
    sliders, number = sliders_of(path)
    if sliders:
        redraws_with_python(page, opened, sliders, number)
    live = page.locator("figure.live").all()
    assert sliders or live
    for figure in live:
        moves_without_python(page, figure)
    assert page.locator(ERROR).count() == 0
    assert not [url for url in requests if not url.startswith((lab, "data:", "blob:"))]
    page.evaluate(f"{Lab.KERNEL}.shutdown()")
    page.close()


def redraws_with_python(page, opened, sliders, number):
    """Each slider of `explore` redraws the figure with its new value; "reset" sets all back."""
    cell = f".jp-Notebook .jp-Cell:nth-child({number + 1} of .jp-Cell)"
    caption = f"{cell} figcaption"

    def expected(values):
        return opened.kernel(f"draw(**{values!r})[1]")

    first = {name: opened.kernel(f"{code}.value") for name, code in sliders.items()}
    opened.wait_for(caption, expected(first))
    now = dict(first)
    for place, (name, code) in enumerate(sliders.items()):
        page.locator(f"{cell} .noUi-handle").nth(place).focus()
        page.keyboard.press("ArrowRight")
        now[name] += opened.kernel(f"{code}.step")
        opened.wait_for(caption, expected(now))
    picture = page.locator(f"{cell} figure img")
    assert picture.evaluate("i => i.complete && i.naturalWidth == 2 * i.width")
    page.locator(f"{cell} button", has_text="reset").click()
    opened.wait_for(caption, expected(first))
    assert picture.get_attribute("alt") == page.locator(caption).text_content()


def moves_without_python(page, figure):
    """Each slider changes what the figure says, and "Reset" brings the first state back; the address stays JupyterLab's."""
    said, address = figure.locator(".said"), page.url
    first = said.text_content()
    sliders = figure.locator("input[type=range]").all()
    for slider in sliders:
        slider.press("Home")
        before = said.text_content()
        slider.press("ArrowRight")
        assert said.text_content() != before, slider.get_attribute("name")
    assert sliders and said.text_content() != first
    figure.locator("button[type=reset]").click()
    page.wait_for_function(
        "([e, text]) => e.textContent == text", arg=[said.element_handle(), first]
    )
    assert page.url == address
