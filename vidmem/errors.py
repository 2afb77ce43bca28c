"""Every error that vidmem raises on purpose.

VidmemError
├── UserError            the input is wrong; the command line exits with 2
│   ├── PromptError      a click, box or mask that cannot be used
│   ├── ObjectError      an unknown `obj_id`, or one added twice
│   ├── FrameError       what is no frame, or comes out of order (also a ValueError)
│   ├── SourceError      a video or folder that cannot be read
│   ├── OutputError      a place that cannot be written
│   ├── StateError       bytes that are no session's state, or another session's
│   └── ModelError       an unknown model, or weights that do not fit
├── RuntimeMissing       an engine is not installed; the message holds the command that installs it (exit 1)
└── SessionClosed        a closed session was used (exit 1)

A message says what came, what was expected and what to do.
"""


class VidmemError(Exception):
    """Base of all errors that vidmem raises on purpose."""

    exit_code = 1


class UserError(VidmemError):
    """The caller's input is wrong."""

    exit_code = 2


class PromptError(UserError):
    """A prompt that cannot be used: NaN, outside the frame, reversed, empty, or of the wrong shape."""


class ObjectError(UserError):
    """An `obj_id` that is unknown, or that is already there."""


class FrameError(UserError, ValueError):
    """An array that is no frame, or a frame of another size or out of order."""


class SourceError(UserError):
    """A video or folder of images that cannot be read."""


class OutputError(UserError):
    """A file or folder that cannot be written."""


class StateError(UserError):
    """Bytes that are not the state of a session such as this one, or a session whose state cannot be written."""


class ModelError(UserError):
    """A model, bank, search or runtime that does not exist, or weights that do not fit."""


class RuntimeMissing(VidmemError):
    """An optional package is needed and not installed; the message names the command that installs it."""


class SessionClosed(VidmemError):
    """A session was used after `close()`."""
