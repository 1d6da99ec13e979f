"""Examine pages in Chromium with axe-core, which the caller brings: `npm install axe-core`.

One page of our own, served on this machine alone, opens each page of the website in a frame as wide as
a desktop's or a phone's, light and dark, lets axe-core look at it and sends back what it found.
"""

import functools
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

BROWSERS = ["chromium", "google-chrome", "chromium-browser", "chrome"]
WIDTHS = [1400, 390]  # pixels: a desktop and a phone
THEMES = ["light", "dark"]
ALLOWED = ["empty-table-header"]  # pandas leaves a table's corner empty; axe-core calls that minor
LIMIT = 600  # seconds for everything
DRIVER = """\
<!doctype html><html lang="en"><title>axe</title><body><script>
async function look(page, theme, width) {
    localStorage.setItem("theme", theme); // where the theme's own switch keeps the choice
    const frame = document.createElement("iframe");
    Object.assign(frame, {src: page, width: width, height: 900});
    document.body.append(frame);
    await new Promise(done => frame.onload = done);
    const script = frame.contentDocument.createElement("script");
    script.src = "/axe.min.js";
    frame.contentDocument.head.append(script);
    await new Promise(done => script.onload = done);
    if (frame.contentDocument.body.dataset.theme !== theme) throw new Error(page + " has no theme " + theme);
    frame.contentDocument.querySelectorAll("details").forEach(part => part.open = true);
    await new Promise(done => setTimeout(done, 100)); // until the page has noticed
    const result = await frame.contentWindow.axe.run();
    frame.remove();
    return result.violations.map(one => ({
        page, theme, width, rule: one.id, impact: one.impact, help: one.help,
        places: one.nodes.map(node => node.target.join(" ")),
    }));
}
(async () => {
    let found = [];
    try {
        for (const page of PAGES) for (const theme of THEMES) for (const width of WIDTHS)
            found = found.concat(await look(page, theme, width));
    } catch (error) {
        found = {error: String(error)};
    }
    await fetch("/found", {method: "POST", body: JSON.stringify(found)});
})();
</script>"""


def browser() -> str | None:
    """The first of the known browsers that is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def violations(folder: Path, script: Path) -> list[str]:
    """What axe-core objects to on the pages of a folder, one line for each rule, page, theme and width."""
    program = browser()
    if not program:
        raise SystemExit(f"error: found none of the browsers {', '.join(BROWSERS)}.")
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.html"))]
    driver = (
        DRIVER.replace("PAGES", json.dumps(names)).replace("THEMES", json.dumps(THEMES)).replace("WIDTHS", json.dumps(WIDTHS))
    )
    own = {"/": ("text/html; charset=utf-8", driver.encode()), "/axe.min.js": ("text/javascript", script.read_bytes())}
    found, done = [], threading.Event()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path not in own:
                return super().do_GET()
            kind, content = own[self.path]
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self):
            found.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *_):
            pass

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        # No sandbox: containers offer none, and the browser sees nothing but these pages.
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        process = subprocess.Popen([program, *options, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            done.wait(LIMIT)
        finally:
            process.terminate()
            process.wait(30)
            server.shutdown()
    if not found or isinstance(found[0], dict):
        raise SystemExit(f"error: the browser gave no result: {found[0]['error'] if found else f'none in {LIMIT} s'}")
    return [
        f"{one['page']} ({one['theme']}, {one['width']} pixels): {one['rule']}, {one['impact']}: {one['help']}, "
        f"{len(one['places'])} times, first {one['places'][0]}"
        for one in found[0]
        if one["rule"] not in ALLOWED
    ]
