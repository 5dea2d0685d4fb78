"""What a build shows while it runs: live lines on a terminal, plain ones elsewhere, and events for programs."""
