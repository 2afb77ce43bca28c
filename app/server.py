"""The routes: what the page asks for. Everything of a visitor is behind a token; everything at all behind the password, if there is one."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketState

from vidmem.catalogue.tracker import MODELS, Tracker, pick
from vidmem.errors import VidmemError
from vidmem.memory import BANKS
from vidmem.render import color
from vidmem.search import SEARCHES

from . import live
from .export import KINDS, export
from .guard import Guard
from .limits import PAUSE_SECONDS, SAID_BYTES, SAID_SECONDS, Limits, Refused
from .project import Project
from .said import PROMPT, choice, configured, most_of, parse, printable, whole
from .visits import Visit, Visits
from .words import Words

STATIC = Path(__file__).parent / "static"
FILES = {
    "app.js": "text/javascript",
    "draw.js": "text/javascript",
    "live.js": "text/javascript",
    "memory.js": "text/javascript",
    "words.js": "text/javascript",
    "app.css": "text/css",
}  # all there is; no path is ever joined from outside
CHANGES, CHANGED_BYTES = 200, 1 << 20  # frames of results in one answer, and letters of their masks


def policies(model: str) -> dict:
    """Banks and searches with their numbers, from the dataclasses: what the page makes its controls of."""

    def fields(policy) -> list[dict]:
        return [{"name": f.name, "value": getattr(policy, f.name), "choices": f.metadata.get("choices"), "least": f.metadata.get("least"),
                 "most": f.metadata["most"] if f.metadata.get("most") is not None else most_of(f.name, f.default)} for f in dataclasses.fields(policy)]  # fmt: skip

    def about(policy) -> str:
        return " ".join((type(policy).__doc__ or "").split("\n\n")[0].split())

    banks = {name: MODELS[model].make_bank(name) for name in BANKS}
    searches = {name: make() for name, make in SEARCHES.items()}
    return {
        kind: {name: {"about": about(p), "fields": fields(p)} for name, p in table.items()}
        for kind, table in (("bank", banks), ("search", searches))
    }


def name_of(table: dict, policy) -> str:
    return next(name for name, kind in table.items() if kind is type(policy))


async def received(request: Request, most: int, seconds: float, too_much: str) -> AsyncIterator[bytes]:
    """The pieces of a request's body. Raises `Refused` beyond `most` bytes, with the text `too_much`; when the whole takes more than `seconds`;
    and when nothing comes for `PAUSE_SECONDS`."""
    length, size, pieces = request.headers.get("content-length", ""), 0, request.stream()
    if length.isdecimal() and len(length) < 20 and int(length) > most:
        raise Refused(too_much, 413)
    until = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(min(until, asyncio.get_running_loop().time() + PAUSE_SECONDS)):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except ClientDisconnect:  # nobody is there to be answered, and it is nothing for a log
            raise Refused(f"the request was broken off after {size} bytes; send it again") from None
        except TimeoutError:
            raise Refused(
                f"the request did not come whole: {size} bytes in at most {seconds} s; try a faster connection, or a smaller file",
                408,
            ) from None
        size += len(piece)
        if size > most:
            raise Refused(too_much, 413)
        yield piece


async def body(request: Request) -> dict:
    """The JSON object that was sent. Raises `Refused`."""
    return parse(
        b"".join(
            [
                piece
                async for piece in received(request, SAID_BYTES, SAID_SECONDS, f"more than {SAID_BYTES} bytes of JSON")
            ]
        )
    )


def told(visit: Visit, project: Project | None, since: int) -> dict:
    """What has changed for the page. Masks that were painted are left out: the page draws what came of them."""
    said: dict = {"work": visit.work, "busy": visit.busy, "video": visit.video}
    if project is None:
        return said
    results, letters, reached = {}, 0, since
    changed = sorted((r, i) for i, r in list(project.revisions.items()) if r > since)
    for revision, i in changed:
        if len(results) == CHANGES or letters > CHANGED_BYTES:
            break
        results[i] = {o: vars(s) for o, s in project.results.get(i, {}).items()}
        letters += sum(len(s["rle"]["counts"]) for s in results[i].values())
        reached = revision
    edits = [
        {"frame_idx": e.frame_idx, "obj_id": e.obj_id, "prompt": e.prompt | {"mask": e.prompt.get("mask") is not None}}
        for e in project.edits
    ]
    things = {o: dataclasses.asdict(t) for o, t in dict(project.things).items()}
    return said | {"results": results, "revision": reached, "more": len(results) < len(changed), "things": things, "prompts": edits,
                   "fresh_until": project.fresh_until, "can_undo": bool(project.done), "can_redo": bool(project.undone)}  # fmt: skip


def make_app(
    tracker: Tracker,
    limits: Limits,
    visits: Visits,
    auth: tuple[str, str] | None = None,
    hosts: set[str] = frozenset(),
    model: str = "nano",
) -> FastAPI:
    """The whole app but for Gradio's page; when it is shut down, all visits end. hosts: names that requests may call us by; empty: any."""

    @asynccontextmanager
    async def lifespan(app: FastAPI):
        yield
        await asyncio.to_thread(
            visits.close
        )  # here, for a signal that ends uvicorn ends the process before anything after it

    words = Words()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, auth=auth, hosts=hosts)
    page = {"limits": dataclasses.asdict(limits), "policies": policies(model), "exports": KINDS, "colors": [color(i) for i in range(1, limits.objects + 1)],
            "chosen": {"bank": name_of(BANKS, tracker.bank), "search": name_of(SEARCHES, tracker.search)}, "runtime": tracker.why or tracker.network.runtime}  # fmt: skip

    @app.exception_handler(VidmemError)
    async def refused(request: Request, error: VidmemError):
        return JSONResponse({"error": str(error)}, getattr(error, "status", 400))

    @app.exception_handler(OSError)
    async def full(request: Request, error: OSError):
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
            raise error
        return JSONResponse({"error": f"this server has no room left ({error.strerror}); try again later"}, 507)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception):
        return JSONResponse({"error": f"internal error, {type(error).__name__}; please report it"}, 500)

    @app.get("/static/{name}")
    async def static(name: str):
        if name not in FILES:
            raise Refused("there is no such file", 404)
        return FileResponse(STATIC / name, media_type=FILES[name], headers={"Cache-Control": "no-cache"})

    @app.get("/api/about")
    async def about():
        return JSONResponse(page)

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
        with visit.uploading() as file:
            too_much = f"the file is larger than {limits.upload_mb} MB, which is the limit here; cut it, or use the command line"
            async for piece in received(request, limits.upload_mb << 20, limits.upload_seconds, too_much):
                visit.here()
                file.write(piece)
            file.flush()
            if not file.tell():
                raise Refused("the file is empty")
            visit.read_video(Path(file.name), printable(Path(name).name), tracker)
        return {}

    def project_of(token: str) -> tuple[Visit, Project]:
        visit = visits.get(token)
        if visit.project is None:
            raise Refused("load a video first")
        return visit, visit.project

    @app.get("/api/visits/{token}/state")
    def state(token: str, since: int = 0):
        visit = visits.get(token)
        return JSONResponse(told(visit, visit.project, since))

    @app.get("/api/visits/{token}/frames/{index}.jpg")
    async def frame(token: str, index: int):
        visit, project = project_of(token)
        if not 0 <= index < project.count:
            raise Refused(f"there is no frame {index}", 404)
        return FileResponse(
            visit.folder / "frames" / f"{index:05d}.jpg", headers={"Cache-Control": "private, max-age=3600"}
        )

    def stop_tracking(visit: Visit) -> None:
        if visit.busy and visit.work["kind"] == "tracking":
            visit.cancel()

    def instead(visit: Visit, function, *given):
        """function(*given), for which tracking stops."""
        stop_tracking(visit)
        return function(*given)

    @app.post("/api/visits/{token}/prompt")
    async def prompt(token: str, request: Request):
        said = await body(request)
        visit, project = project_of(token)
        frame_idx, obj_id = whole(said, "frame_idx"), whole(said, "obj_id")
        await visit.edit(instead, visit, project.say, frame_idx, obj_id, {key: said.get(key) for key in PROMPT})
        return {}

    @app.post("/api/visits/{token}/text")
    async def text(token: str, request: Request):
        said = await body(request)
        visit, project = project_of(token)
        return await visit.edit(words.find, project, whole(said, "frame_idx"), said.get("text"))

    @app.post("/api/visits/{token}/look/{frame_idx}")
    async def look(token: str, frame_idx: int):
        visit, project = project_of(token)
        if not visit.busy:
            await visit.edit(project.look, frame_idx)
        return {}

    @app.post("/api/visits/{token}/objects/{obj_id}")
    async def change(token: str, obj_id: int, request: Request):
        said = await body(request)
        visit, project = project_of(token)
        if said.get("remove"):
            await visit.edit(instead, visit, project.remove, obj_id)
            return {}
        if obj_id not in project.things:
            raise Refused(f"there is no object {obj_id}")
        if isinstance(said.get("name"), str) and said["name"].strip():
            project.things[obj_id].name = printable(said["name"])
        if isinstance(said.get("visible"), bool):
            project.things[obj_id].visible = said["visible"]
        return {}

    @app.get("/api/visits/{token}/memory")
    async def memory(token: str):
        visit, project = project_of(token)
        return await visit.edit(project.memory)

    @app.post("/api/visits/{token}/undo")
    async def undo(token: str, again: bool = False):
        visit, project = project_of(token)
        return {"frame_idx": await visit.edit(instead, visit, project.undo, again)}

    @app.post("/api/visits/{token}/settings")
    async def settings(token: str, request: Request):
        said = await body(request)
        visit, project = project_of(token)
        bank = configured(MODELS[model].make_bank(choice(said, "bank")), "bank", said)
        search = configured(pick(SEARCHES, "search", choice(said, "search") or "greedy")(), "search", said)
        await visit.edit(instead, visit, project.configure, bank, search)
        return {}

    @app.post("/api/visits/{token}/track")
    async def track(token: str, request: Request):
        said = await body(request)
        visit, project = project_of(token)
        if not project.edits:
            raise Refused("say what to track first: click on it, or draw a box around it")
        start = whole(said, "from", 0, project.count - 1)

        def job(stopped, progress):
            project.track(start, lambda i: (progress(i + 1), not stopped())[1])

        visit.begin("tracking", job, project.count)
        return {}

    @app.post("/api/visits/{token}/export/{kind}")
    async def take(token: str, kind: str):
        visit, project = project_of(token)
        if kind not in KINDS:
            raise Refused(f"there is no export {kind!r}; choose from: {', '.join(KINDS)}")

        def job(stopped, progress):
            path = export(
                project, visit.video, kind, visit.folder / "frames", visit.folder / "export", stopped, progress
            )
            visit.work["file"] = path.name if path else None

        visit.begin("exporting", job, project.count)
        return {}

    @app.get("/api/visits/{token}/export/{name}")
    async def fetch(token: str, name: str):
        visit = visits.get(token)
        found = {
            path.name: path for path in (visit.folder / "export").glob("*") if path.is_file() and not path.is_symlink()
        }
        if name not in found:
            raise Refused("there is no such export; make it again", 404)
        return FileResponse(found[name], filename=name)

    @app.websocket("/api/visits/{token}/live")
    async def watch(socket: WebSocket, token: str):
        leave, loop = asyncio.Event(), asyncio.get_running_loop()
        try:
            visit = visits.get(token)
            async with visit.camera(lambda: loop.call_soon_threadsafe(leave.set)):
                await live.serve(
                    socket,
                    live.Live(
                        tracker, visit.turn, min(limits.objects, limits.pathways // getattr(tracker.search, "width", 1))
                    ),
                    visits.pools.of["watching"],
                    visit.here,
                    leave,
                    limits.allow_url,
                )
        except Refused as error:
            if socket.client_state is WebSocketState.CONNECTING:
                await socket.send_denial_response(JSONResponse({"error": str(error)}, error.status))

    @app.post("/api/visits/{token}/cancel")
    async def cancel(token: str):
        await visits.get(token).cancelled()
        return {}

    return app
