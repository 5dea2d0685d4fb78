"""Makes the picture of the report page, qatbuild/docs/report.png, in a real browser.

    doit digits digits-variants digits-deploy
    python -m tests.docs.screenshot
    python -m tests.docs.screenshot --address "#digits" --height 2300 --out qatbuild/docs/page-model.png

needs Chromium or Chrome on PATH (Debian: apt-get install chromium). The browser runs without a window and loads nothing
but the file.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.docs.pages import DOCS

PICTURE = DOCS / "report.png"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def screenshot(page: Path, picture: Path, size_px: tuple[int, int], address: str = "", *, dark: bool = False) -> None:
    """Writes a PNG of the top of an HTML file, width x height, at an address in it; SystemExit without a browser."""
    browser = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"No browser on PATH: {', '.join(_BROWSERS)}.\n  hint: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-extensions",
            f"--user-data-dir={profile}", f"--window-size={size_px[0]},{size_px[1]}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--screenshot={picture.absolute()}", f"{page.absolute().as_uri()}{address}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode or not picture.is_file():
        raise SystemExit(f"{Path(browser).name} made no picture of {page}:\n{done.stderr}")


def main(arguments: list[str]) -> None:
    """Reads the command line and makes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, nargs="?", default=Path("build/report.html"))
    parser.add_argument("--out", type=Path, default=PICTURE)
    parser.add_argument("--width", type=int, default=1200, help="pixels [default: %(default)s]")
    parser.add_argument("--height", type=int, default=1000, help="pixels [default: %(default)s]")
    parser.add_argument("--address", default="", help="what stands behind the file's name, such as #LABEL")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args(arguments)
    screenshot(options.page, options.out, (options.width, options.height), options.address, dark=options.dark)


if __name__ == "__main__":
    main(sys.argv[1:])
