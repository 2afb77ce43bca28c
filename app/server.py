"""The routes: what the page asks for. Everything of a visitor is behind a token; everything at all behind the password, if there is one."""

from __future__ import annotations

import base64
import dataclasses
import hmac
import json
import os
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from vidmem.errors import VidmemError
from vidmem.memory import BANKS
from vidmem.options import literal
from vidmem.render import color
from vidmem.search import SEARCHES
from vidmem.tracker import MODELS, Tracker, pick

from . import live
from .export import KINDS, export
from .limits import Limits, Refused
from .visits import Visit, Visits

STATIC = Path(__file__).parent / "static"
FILES = {"app.js": "text/javascript", "draw.js": "text/javascript", "live.js": "text/javascript", "memory.js": "text/javascript", "app.css": "text/css"}  # all there is; no path is ever joined from outside
MOST_SAID = 4 << 20  # bytes of a prompt: a painted mask of the largest frame has a tenth of that
CHANGES = 200  # frames of results in one answer


class Guard:
    """In front of everything, Gradio's routes and sockets included: the password, the name by which we are called, and where requests come
    from. A page elsewhere that makes a visitor's browser call us (or a name that is made to point to us) gets nothing."""

    def __init__(self, app, auth: tuple[str, str] | None, hosts: set[str]):
        self.app, self.auth, self.hosts = app, auth, hosts

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = {k.decode("latin1").lower(): v.decode("latin1") for k, v in scope["headers"]}
        refusal = self._refusal(headers)
        if refusal is None:
            return await self.app(scope, receive, send)
        status, extra = refusal
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain"), *extra]})
        await send({"type": "http.response.body", "body": b"not allowed"})

    def _refusal(self, headers: dict[str, str]) -> tuple[int, list] | None:
        host = headers.get("host", "")
        if self.hosts and urlsplit(f"//{host}").hostname not in self.hosts:
            return 421, []
        origin = headers.get("origin")
        if origin not in (None, "null") and urlsplit(origin).netloc != host or origin == "null":
            return 403, []
        if self.auth is None:
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        try:
            said = base64.b64decode(given) if kind.lower() == "basic" else b""
        except ValueError:
            said = b""
        if hmac.compare_digest(said, ":".join(self.auth).encode()):
            return None
        return 401, [(b"www-authenticate", b'Basic realm="vidmem"')]


def policies(model: str) -> dict:
    """Banks and searches with their numbers, from the dataclasses: what the page makes its controls of."""
    def fields(policy) -> list[dict]:
        return [{"name": f.name, "value": getattr(policy, f.name), "choices": f.metadata.get("choices"), "least": f.metadata.get("least"),
                 "most": f.metadata.get("most")} for f in dataclasses.fields(policy)]  # fmt: skip

    def about(policy) -> str:
        return " ".join((type(policy).__doc__ or "").split("\n\n")[0].split())

    banks = {name: MODELS[model].make_bank(name) for name in BANKS}
    searches = {name: make() for name, make in SEARCHES.items()}
    return {kind: {name: {"about": about(p), "fields": fields(p)} for name, p in table.items()} for kind, table in (("bank", banks), ("search", searches))}


def name_of(table: dict, policy) -> str:
    return next(name for name, kind in table.items() if kind is type(policy))


def make_app(tracker: Tracker, limits: Limits, visits: Visits, auth: tuple[str, str] | None = None, hosts: set[str] = frozenset(), model: str = "nano") -> FastAPI:
    """The whole app but for Gradio's page. hosts: names that requests may call us by; empty: any."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, auth=auth, hosts=hosts)

    @app.exception_handler(VidmemError)
    async def refused(request: Request, error: VidmemError):
        return JSONResponse({"error": str(error)}, getattr(error, "status", 400))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception):
        return JSONResponse({"error": f"internal error, {type(error).__name__}; please report it"}, 500)

    @app.get("/static/{name}")
    def static(name: str):
        if name not in FILES:
            raise Refused("there is no such file", 404)
        return FileResponse(STATIC / name, media_type=FILES[name], headers={"Cache-Control": "no-cache"})

    @app.get("/api/about")
    def about():
        return {"limits": dataclasses.asdict(limits), "policies": policies(model), "exports": KINDS, "colors": [color(i) for i in range(1, limits.objects + 1)],
                "chosen": {"bank": name_of(BANKS, tracker.bank), "search": name_of(SEARCHES, tracker.search)}, "runtime": tracker.why or tracker.network.runtime}  # fmt: skip

    @app.post("/api/visits")
    def arrive():
        return {"token": visits.new().token}

    @app.post("/api/visits/{token}/end")  # a POST, for that is what a closing page can send
    def leave(token: str):
        visits.end(token)
        return {}

    @app.post("/api/visits/{token}/video")
    async def upload(token: str, request: Request, name: str = "video"):
        visit = visits.get(token)
        if visit.busy:
            raise Refused(f"still {visit.work['kind']}; wait, or cancel it", 409)
        handle, path = tempfile.mkstemp(prefix="upload-", dir=visit.folder)  # its own name, never the visitor's
        size = 0
        try:
            with os.fdopen(handle, "wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size > limits.upload_mb << 20:
                        raise Refused(f"the file is larger than {limits.upload_mb} MB, which is the limit here; cut it, or use the command line", 413)
                    file.write(chunk)
            if not size:
                raise Refused("the file is empty")
            visit.read_video(Path(path), Path(name).name[:100], tracker, visits.turn)
        except BaseException:
            Path(path).unlink(missing_ok=True)
            raise
        return {}

    def project_of(token: str):
        visit = visits.get(token)
        if visit.project is None:
            raise Refused("load a video first")
        return visit, visit.project

    @app.get("/api/visits/{token}/state")
    def state(token: str, since: int = 0):
        visit = visits.get(token)
        project = visit.project
        said: dict = {"work": visit.work, "busy": visit.busy, "video": visit.video}
        if project is None:
            return said
        changed = sorted((r, i) for i, r in list(project.revisions.items()) if r > since)[:CHANGES]
        said["results"] = {i: {o: dataclasses.asdict(s) for o, s in project.results.get(i, {}).items()} for _, i in changed}
        said["revision"] = changed[-1][0] if changed else since
        said["more"] = len(changed) == CHANGES
        said["things"] = {o: dataclasses.asdict(t) for o, t in project.things.items()}
        said["prompts"] = [dataclasses.asdict(e) for e in project.edits]
        said |= {"fresh_until": project.fresh_until, "can_undo": bool(project.done), "can_redo": bool(project.undone)}
        return said

    @app.get("/api/visits/{token}/frames/{index}.jpg")
    def frame(token: str, index: int):
        visit, project = project_of(token)
        if not 0 <= index < project.count:
            raise Refused(f"there is no frame {index}", 404)
        return FileResponse(visit.folder / "frames" / f"{index:05d}.jpg", headers={"Cache-Control": "private, max-age=3600"})

    async def body(request: Request) -> dict:
        text = b""
        async for chunk in request.stream():
            text += chunk
            if len(text) > MOST_SAID:
                raise Refused(f"more than {MOST_SAID} bytes of JSON", 413)
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise Refused("expected a JSON object")
        return said

    def whole(said: dict, name: str) -> int:
        if type(said.get(name)) is not int:
            raise Refused(f"{name} is {said.get(name)!r}; expected an integer")
        return said[name]

    @app.post("/api/visits/{token}/prompt")
    async def prompt(token: str, request: Request):
        said = await body(request)
        visit, project = project_of(token)
        await run_in_threadpool(stop_tracking, visit)
        given = {key: said.get(key) for key in ("points", "labels", "box", "mask")}
        await run_in_threadpool(project.say, whole(said, "frame_idx"), whole(said, "obj_id"), given)
        return {}

    @app.post("/api/visits/{token}/look/{frame_idx}")
    def look(token: str, frame_idx: int):
        visit, project = project_of(token)
        if not visit.busy:
            project.look(frame_idx)
        return {}

    def stop_tracking(visit: Visit) -> None:
        if visit.busy and visit.work["kind"] == "tracking":
            visit.cancel()

    @app.post("/api/visits/{token}/objects/{obj_id}")
    async def change(token: str, obj_id: int, request: Request):
        said = await body(request)
        visit, project = project_of(token)
        if said.get("remove"):
            await run_in_threadpool(stop_tracking, visit)
            await run_in_threadpool(project.remove, obj_id)
            return {}
        if obj_id not in project.things:
            raise Refused(f"there is no object {obj_id}")
        if isinstance(said.get("name"), str) and said["name"].strip():
            project.things[obj_id].name = said["name"].strip()[:60]
        if isinstance(said.get("visible"), bool):
            project.things[obj_id].visible = said["visible"]
        return {}

    @app.get("/api/visits/{token}/memory")
    def memory(token: str):
        return project_of(token)[1].memory()

    @app.post("/api/visits/{token}/undo")
    async def undo(token: str, again: bool = False):
        visit, project = project_of(token)
        await run_in_threadpool(stop_tracking, visit)
        return {"frame_idx": await run_in_threadpool(project.undo, again)}

    @app.post("/api/visits/{token}/settings")
    async def settings(token: str, request: Request):
        said = await body(request)
        visit, project = project_of(token)
        await run_in_threadpool(stop_tracking, visit)
        bank = configured(MODELS[model].make_bank(said.get("bank")), "bank", said)
        search = configured(pick(SEARCHES, "search", said.get("search") or "greedy")(), "search", said)
        await run_in_threadpool(project.configure, bank, search)
        return {}

    @app.post("/api/visits/{token}/track")
    async def track(token: str, request: Request):
        said = await body(request)
        visit, project = project_of(token)
        if not project.edits:
            raise Refused("say what to track first: click on it, or draw a box around it")
        start = whole(said, "from")

        def job(stopped, progress):
            project.track(start, lambda i: (progress(i + 1), not stopped())[1])

        visit.begin("tracking", job, project.count)
        return {}

    @app.post("/api/visits/{token}/export/{kind}")
    def take(token: str, kind: str):
        visit, project = project_of(token)
        if kind not in KINDS:
            raise Refused(f"there is no export {kind!r}; choose from: {', '.join(KINDS)}")

        def job(stopped, progress):
            path = export(project, visit.video, kind, visit.folder / "frames", visit.folder / "export", stopped, progress)
            visit.work["file"] = path.name if path else None

        visit.begin("exporting", job, project.count)
        return {}

    @app.get("/api/visits/{token}/export/{name}")
    def fetch(token: str, name: str):
        visit = visits.get(token)
        found = {path.name: path for path in (visit.folder / "export").glob("*") if path.is_file() and not path.is_symlink()}
        if name not in found:
            raise Refused("there is no such export; make it again", 404)
        return FileResponse(found[name], filename=name)

    @app.websocket("/api/visits/{token}/live")
    async def watch(socket: WebSocket, token: str):
        visit = visits.get(token)
        visit.watching = True
        try:
            await live.serve(socket, live.Live(tracker, visits.turn, limits.objects), limits.allow_url)
        finally:
            visit.watching, visit.seen = False, time.monotonic()

    @app.post("/api/visits/{token}/cancel")
    async def cancel(token: str):
        await run_in_threadpool(visits.get(token).cancel)
        return {}

    @app.middleware("http")
    async def plain(request: Request, call_next):
        response: Response = await call_next(request)
        response.headers.update({"X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "no-referrer"})
        return response

    return app


def configured(policy, kind: str, said: dict):
    """A policy with the numbers of the page. Raises `Refused` for one that cannot be."""
    numbers = said.get(f"{kind}_numbers") or {}
    try:
        return dataclasses.replace(policy, **{name: literal(v) if isinstance(v, str) else v for name, v in numbers.items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise Refused(f"{kind}: {error}") from None
