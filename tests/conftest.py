"""What every test starts from."""

from __future__ import annotations

import signal

# Whoever starts the tests in the background of a shell makes them, and all builds that they start, deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
