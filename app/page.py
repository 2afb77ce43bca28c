"""Gradio's part: the page, in which one component holds the whole workbench, and the server around it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

from .given import Given
from .limits import FRAME_BYTES, Limits, Refused, check_host
from .server import STATIC, make_app
from .visits import Visits
from .words import Words


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


def gradio_app():
    """Gradio with our page, as an application of its own. Takes seconds, nearly all of them for importing Gradio."""
    import gradio as gr
    from fastapi import FastAPI

    return gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None), build_page(), path="/", allowed_paths=[], blocked_paths=[str(Path("/"))], show_error=False, run_history=False,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None}, ssr_mode=False, footer_links=[], max_file_size="1kb", enable_monitoring=False, pwa=False, mcp_server=False,
    )  # fmt: skip


class Later:
    """The page, made when the server listens already: who comes first waits for it, and the address is said at once."""

    def __init__(self):
        self._making: asyncio.Task | None = None
        self._ends = contextlib.AsyncExitStack()

    def begin(self) -> None:
        if self._making is None:
            self._making = asyncio.create_task(self._make())

    async def _make(self):
        app = await asyncio.to_thread(gradio_app)
        await self._ends.enter_async_context(app.router.lifespan_context(app))
        return app

    async def end(self) -> None:
        if self._making is not None:
            await asyncio.wait([self._making])
            await self._ends.aclose()

    async def __call__(self, scope, receive, send):
        self.begin()
        await (await asyncio.shield(self._making))(scope, receive, send)


def build(
    tracker,
    limits: Limits,
    visits: Visits,
    auth=None,
    hosts: set[str] = frozenset(),
    model: str = "nano",
    given: Given | None = None,
    words: Words | None = None,
):
    """-> the ASGI application: our routes, and Gradio's page at `/`."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported; nothing is sent anywhere
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    app, page = make_app(tracker, limits, visits, auth, hosts, model, given, words), Later()
    app.mount("/", page)
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with inner(app):
            page.begin()
            yield
            await page.end()

    app.router.lifespan_context = lifespan
    return app


def listen(host: str, port: int) -> socket.socket:
    """Port 0: any that is free. Raises `Refused` where nobody can listen."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        raise Refused(
            f"cannot listen on {host}, port {port} ({error.strerror or error}); is the app running already? Choose another --port"
        ) from error


def serve(
    tracker,
    limits: Limits,
    host: str = "127.0.0.1",
    port: int = 7860,
    auth: tuple[str, str] | None = None,
    model: str = "nano",
    given: Given | None = None,
    shelf=None,
    words: Words | None = None,
    started=lambda server, address: None,
) -> None:
    """Run until Ctrl-C. started: called with the server, which `should_exit` ends, and its address. Raises `Refused` for a host that others
    reach without a password, and for a port that is taken."""
    import uvicorn
    import websockets  # noqa: F401  without it uvicorn refuses every socket, and says so in a log at most

    from .door import Door
    from .log import config

    check_host(host, auth)
    names = {"127.0.0.1", "localhost", "::1"} if auth is None else set()
    door = listen(host, port)
    visits = Visits(limits, shelf)
    try:
        address = f"http://{'localhost' if host == '127.0.0.1' else host}:{door.getsockname()[1]}"
        settings = uvicorn.Config(
            build(tracker, limits, visits, auth, names, model, given, words), http=Door, log_level="warning", log_config=config(), server_header=False,
            ws_max_size=FRAME_BYTES, ws_max_queue=4, ws_per_message_deflate=False, timeout_graceful_shutdown=3,
        )  # fmt: skip
        server = uvicorn.Server(settings)
        print(f"vidmem: {address}  (Ctrl-C ends it)", flush=True)
        started(server, address)
        server.run(sockets=[door])
    finally:
        visits.close()
        door.close()
