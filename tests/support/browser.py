"""What the tests in Chromium share."""

import os
import shutil

from .server import SOURCE

CHROMIUM = shutil.which("chromium")
SHOTS = os.path.join(SOURCE, "build/browser")


def why_no_browser():
    """What is missing, or None. Makes the folder for screenshots."""
    for needed, what in ((CHROMIUM, "chromium"), (shutil.which("node"), "node"),
                         (os.path.isdir(os.path.join(SOURCE, "web/node_modules/playwright-core")),
                          "playwright-core")):
        if not needed:
            return f"{what} is missing: ./dev test installs it"
    os.makedirs(SHOTS, exist_ok=True)
    return None
