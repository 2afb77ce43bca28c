"""The routes: what the page asks for. Everything of a visitor is behind a token; everything at all behind the password, if there is one."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.websockets import WebSocketState

from vidmem.catalogue.tracker import MODELS, Tracker, pick
from vidmem.errors import VidmemError
from vidmem.installed import demo_folder
from vidmem.memory import BANKS
from vidmem.render import color
from vidmem.search import SEARCHES
from vidmem.session.status import UNSURE

from . import live
from .body import body, received
from .export import KINDS, export
from .given import Given
from .guard import Guard
from .limits import Limits, Refused
from .project import Project
from .requests import PROMPT, choice, configured, printable, whole
from .seen import small_jpeg
from .told import name_of, policies, told
from .visits import Visit, Visits
from .words import Words

STATIC = Path(__file__).parent / "static"
KINDS_OF_FILES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png"}
FILES = {  # all there is; no path is ever joined from outside
    path.name: KINDS_OF_FILES[path.suffix] for path in STATIC.iterdir() if path.suffix in KINDS_OF_FILES
}
WAYS = ("forward", "back", "both")


def make_app(
    tracker: Tracker,
    limits: Limits,
    visits: Visits,
    auth: tuple[str, str] | None = None,
    hosts: set[str] = frozenset(),
    model: str = "nano",
    given: Given | None = None,
) -> FastAPI:
    """The whole app but for Gradio's page; when it is shut down, all visits end. hosts: names that requests may call us by; empty: any.
    given: a file that the app was started with."""

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
            "chosen": {"bank": name_of(BANKS, tracker.bank), "search": name_of(SEARCHES, tracker.search)}, "runtime": tracker.why or tracker.network.runtime,
            "unsure": UNSURE, "keeps": visits.shelf is not None, "example": example().is_file(), "given": given.path.name if given else None, "picking": bool(given and given.picked)}  # fmt: skip

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

    @app.get("/favicon.ico")
    async def icon():
        return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")

    @app.get("/manifest.json")
    async def manifest():
        icons = [{"src": "/static/icon.svg", "sizes": "any", "type": "image/svg+xml"}]
        return JSONResponse({"name": "vidmem", "icons": icons, "start_url": "/", "display": "standalone"})

    @app.post("/api/visits/{token}/away")  # a POST, for that is what a closing page can send
    def away(token: str):
        visits.leave(token)
        return {}

    @app.post("/api/visits/{token}/end")
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

    @app.post("/api/visits/{token}/example")
    def show_example(token: str):
        if not example().is_file():
            raise Refused("the example clip is not installed here; open a video of your own", 404)
        visits.get(token).read_video(example(), "example.mp4", tracker, ours=True)
        return {}

    @app.post("/api/visits/{token}/given")
    def show_given(token: str):
        if given is None:
            raise Refused("the app was started without a file; open a video", 404)
        visits.get(token).read_video(given.path, printable(given.path.name), tracker, ours=True)
        return {}

    @app.post("/api/visits/{token}/picked")
    def picked(token: str):
        visit, project = project_of(token)
        if given is None or given.picked is None:
            raise Refused("nobody waits for a choice; this is for vidmem track --pick", 404)
        if not project.edits:
            raise Refused("say what to track first: click on it, or draw a box around it")
        given.picked(project)
        return {}

    def shelf():
        if visits.shelf is None:
            raise Refused("this server keeps no projects; export one to go on with it later", 404)
        return visits.shelf

    @app.get("/api/projects")
    def projects():
        return JSONResponse({"projects": visits.shelf.list() if visits.shelf is not None else []})

    @app.get("/api/projects/{name}.jpg")
    def cover(name: str):
        return Response(small_jpeg(shelf().path(name) / "frames" / "00000.jpg"), media_type="image/jpeg")

    @app.post("/api/projects/{name}/delete")
    def throw_away(name: str):
        folder = shelf().path(name)
        visits.free(folder.name)
        visits.shelf.delete(folder.name)
        return {}

    @app.post("/api/visits/{token}/projects/{name}")
    def go_on(token: str, name: str):
        visit, found = visits.get(token), {one["id"]: one for one in shelf().list()}
        if name not in found:
            raise Refused("there is no such project any more; load the page again", 404)
        if visit.kept["id"] != name:
            visits.free(name)
            visit.read_kept(name, found[name]["name"], tracker)
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
    async def frame(token: str, index: int, small: bool = False):
        visit, project = project_of(token)
        if not 0 <= index < project.count:
            raise Refused(f"there is no frame {index}", 404)
        path, stays = visit.folder / "frames" / f"{index:05d}.jpg", {"Cache-Control": "private, max-age=3600"}
        if not small:
            return FileResponse(path, headers=stays)
        return Response(await asyncio.to_thread(small_jpeg, path), media_type="image/jpeg", headers=stays)

    def stop_tracking(visit: Visit) -> None:
        if visit.busy and visit.work["kind"] == "tracking":
            visit.cancel()

    def instead(visit: Visit, function, *given):
        """function(*given), for which tracking stops."""
        stop_tracking(visit)
        return function(*given)

    @app.post("/api/visits/{token}/prompt")
    async def prompt(token: str, request: Request):
        fields = await body(request)
        visit, project = project_of(token)
        frame_idx, obj_id = whole(fields, "frame_idx"), whole(fields, "obj_id")
        since = None if fields.get("since") is None else whole(fields, "since", 0)
        await visit.edit(instead, visit, project.say, frame_idx, obj_id, {key: fields.get(key) for key in PROMPT})
        return JSONResponse(
            {} if since is None else told(visit, project, since)
        )  # what it gave, without another question

    @app.post("/api/visits/{token}/unsay")
    async def unsay(token: str, request: Request):
        fields = await body(request)
        visit, project = project_of(token)
        point = None if fields.get("point") is None else whole(fields, "point", 0)
        place = whole(fields, "frame_idx"), whole(fields, "obj_id"), whole(fields, "edit", 0)
        await visit.edit(instead, visit, project.unsay, *place, point)
        return {}

    @app.post("/api/visits/{token}/text")
    async def text(token: str, request: Request):
        fields = await body(request)
        visit, project = project_of(token)
        return await visit.edit(words.find, project, whole(fields, "frame_idx"), fields.get("text"))

    @app.post("/api/visits/{token}/look/{frame_idx}")
    async def look(token: str, frame_idx: int):
        visit, project = project_of(token)
        if not visit.busy:
            await visit.edit(project.look, frame_idx)
        return {}

    @app.post("/api/visits/{token}/objects/{obj_id}")
    async def change(token: str, obj_id: int, request: Request):
        fields = await body(request)
        visit, project = project_of(token)
        if fields.get("remove"):
            await visit.edit(instead, visit, project.remove, obj_id)
            return {}
        if obj_id not in project.things:
            raise Refused(f"there is no object {obj_id}")
        if isinstance(fields.get("name"), str) and fields["name"].strip():
            project.things[obj_id].name = printable(fields["name"])
        if isinstance(fields.get("visible"), bool):
            project.things[obj_id].visible = fields["visible"]
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
        fields = await body(request)
        visit, project = project_of(token)
        bank = configured(MODELS[model].make_bank(choice(fields, "bank")), "bank", fields)
        search = configured(pick(SEARCHES, "search", choice(fields, "search") or "greedy")(), "search", fields)
        await visit.edit(instead, visit, project.configure, bank, search)
        return {}

    @app.post("/api/visits/{token}/track")
    async def track(token: str, request: Request):
        fields = await body(request)
        visit, project = project_of(token)
        if not project.edits:
            raise Refused("say what to track first: click on it, or draw a box around it")
        start = None if fields.get("from") is None else whole(fields, "from", 0, project.count - 1)
        way = choice(fields, "way") or "forward"
        if way not in WAYS:
            raise Refused(f"way is {way!r}; expected one of {', '.join(WAYS)}")
        until = None if fields.get("until") is None else whole(fields, "until", 0, project.count - 1)

        def job(stopped, progress):
            done = 0

            def heard(i: int) -> bool:
                nonlocal done
                done += 1
                visit.work["at"] = i
                progress(done)
                return not stopped()

            if way != "back":
                project.track(start, heard, until if way == "forward" else None)
            if way != "forward" and not stopped():
                project.track_back(until or 0, heard)

        visit.begin("tracking", job, project.to_do(start, way, until))
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


def example() -> Path:
    return demo_folder() / "demo.mp4"
