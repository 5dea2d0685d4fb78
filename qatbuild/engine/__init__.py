"""What must run, and why: plan, digests, reasons, up-to-date checks and the build. No doit, no TensorFlow."""
