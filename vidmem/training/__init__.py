"""Training of the embedded model; imported by scripts and tests only, never by the library."""
