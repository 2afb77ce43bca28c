"""Gradio's part: the page, in which one component holds the whole workbench, and the server around it."""

from __future__ import annotations

import os
from pathlib import Path

from .limits import FRAME_BYTES, Limits, check_host
from .server import STATIC, make_app
from .visits import Visits


def build_page():
    """The Blocks. The component's script is a module of ours; Gradio gives it the place and calls it."""
    import gradio as gr

    with gr.Blocks(title="vidmem", analytics_enabled=False, fill_width=True, fill_height=True) as page:
        gr.HTML(
            html_template=(STATIC / "app.html").read_text(encoding="utf-8"), apply_default_css=False, elem_id="vidmem",
            js_on_load="import('/static/app.js').then((module) => module.start(element));",
            head='<link rel="stylesheet" href="/static/app.css">',
        )  # fmt: skip
    return page


def build(tracker, limits: Limits, visits: Visits, auth=None, hosts: set[str] = frozenset(), model: str = "nano"):
    """-> the ASGI application: our routes, and Gradio's page at `/`."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported; nothing is sent anywhere
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import gradio as gr

    app = make_app(tracker, limits, visits, auth, hosts, model)
    return gr.mount_gradio_app(
        app, build_page(), path="/", allowed_paths=[], blocked_paths=[str(Path("/"))], show_error=False, run_history=False, app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None}, ssr_mode=False,
        footer_links=[], max_file_size="1kb", enable_monitoring=False, pwa=False, mcp_server=False,
    )  # fmt: skip


def serve(
    tracker,
    limits: Limits,
    host: str = "127.0.0.1",
    port: int = 7860,
    auth: tuple[str, str] | None = None,
    model: str = "nano",
) -> None:
    """Run until Ctrl-C. Raises `Refused` for a host that others reach without a password."""
    import uvicorn
    import websockets  # noqa: F401  without it uvicorn refuses every socket, and says so in a log at most

    from .door import Door
    from .log import config

    check_host(host, auth)
    names = {"127.0.0.1", "localhost", "::1"} if auth is None else set()
    visits = Visits(limits)
    try:
        print(f"vidmem: http://{'localhost' if host == '127.0.0.1' else host}:{port}  (Ctrl-C ends it)", flush=True)
        uvicorn.run(
            build(tracker, limits, visits, auth, names, model), host=host, port=port, http=Door, log_level="warning", log_config=config(), server_header=False,
            ws_max_size=FRAME_BYTES, ws_max_queue=4, ws_per_message_deflate=False, timeout_graceful_shutdown=3,
        )  # fmt: skip
    finally:
        visits.close()
