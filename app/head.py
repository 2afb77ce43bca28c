"""What the page says of itself to browsers, and to what makes a preview of a link. Gradio's template speaks of Gradio there."""

from __future__ import annotations

import re

THEIRS = re.compile(
    rb"<meta\s+(?:property=\"og:|name=\"twitter:)[^>]*>|<link[^>]*rel=\"(?:icon|apple-touch-icon)\"[^>]*>", re.DOTALL
)
ABOUT = "Click on anything in a video and it is followed: masks, corrections, exports. It all stays on this machine."


def ours(page: bytes, host: str) -> bytes:
    """The page with our icon and preview. host: as the request has it; checked by now, or nobody's."""
    here = f"//{host}" if re.fullmatch(r"[\w.:\[\]-]+", host) else ""
    head = f'''<meta name="description" content="{ABOUT}"><meta property="og:title" content="vidmem"><meta property="og:type" content="website">
<meta property="og:description" content="{ABOUT}"><meta property="og:image" content="{here}/static/card.png"><meta name="twitter:card" content="summary_large_image">
<link rel="icon" type="image/svg+xml" href="/static/icon.svg">'''
    return THEIRS.sub(b"", page).replace(b"</head>", head.encode() + b"</head>", 1)
