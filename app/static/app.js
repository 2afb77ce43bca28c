// The workbench. The server holds the truth; this asks for what changed and shows it.
import { bars, encode, marks, tinted } from "./draw.js";
import { camera } from "./live.js";
import { controls, gather, list, thumbnails } from "./memory.js";
import { words } from "./words.js";

const POLL = 120; // milliseconds between questions while something is going on

export async function start(root) {
  const $ = (id) => root.querySelector("[data-id=" + id + "]");
  const stage = $("canvas"), pen = stage.getContext("2d");
  const state = { results: new Map(), things: {}, prompts: [], fresh_until: -1, revision: 0, video: {}, can_undo: false, can_redo: false };
  const view = { at: 0, zoom: 1, x: 0, y: 0, tool: "point", chosen: null, image: null, drag: null, playing: false, space: false, brush: null };
  const frames = new Map(), masks = new Map();
  let about, token, watching = null, live = null;

  // Talking to the server -----------------------------------------------------------------------
  async function ask(path, options = {}) {
    const answer = await fetch("/api/" + path, { method: "POST", ...options });
    const said = await answer.json().catch(() => ({ error: "the server does not answer (" + answer.status + ")" }));
    if (!answer.ok) throw new Error(said.error || "the server refused (" + answer.status + ")");
    return said;
  }
  const mine = (path, said) => ask("visits/" + token + "/" + path, said === undefined ? {} : { body: JSON.stringify(said), headers: { "Content-Type": "application/json" } });

  function tell(text, bad = false, stay = false) {
    const box = $("message");
    box.textContent = text;
    box.classList.toggle("on", !!text);
    box.classList.toggle("bad", bad);
    clearTimeout(tell.timer);
    if (text && !stay) tell.timer = setTimeout(() => box.classList.remove("on"), bad ? 9000 : 3500);
  }
  const attempt = (work) => async (...given) => { try { return await work(...given); } catch (error) { tell(error.message, true); } };

  async function refresh() {
    let said;
    do {
      said = await ask("visits/" + token + "/state?since=" + state.revision, { method: "GET" });
      if (said.video && said.video.count !== undefined && said.video !== state.video) state.video = said.video;
      for (const [i, seen] of Object.entries(said.results || {})) { state.results.set(+i, seen); masks.delete(+i); }
      if (said.revision !== undefined) state.revision = said.revision;
      for (const key of ["things", "prompts", "fresh_until", "can_undo", "can_redo"]) if (key in said) state[key] = said[key];
    } while (said.more);
    show(said);
    return said;
  }

  async function watch() {
    for (;;) {
      const said = await refresh();
      if (!said.busy) {
        if (said.work.error) tell(said.work.error, true);
        return said;
      }
      await new Promise((resolve) => setTimeout(resolve, POLL));
    }
  }

  /** Show what goes on until it is over -> the last state. One watch at a time: a later one begins when the earlier is over. */
  async function follow() {
    while (watching) await watching.catch(() => {});
    watching = watch();
    try { return await watching; } finally { watching = null; }
  }

  // Showing -------------------------------------------------------------------------------------
  function show(said) {
    const { work, busy } = said, count = state.video.count || 0;
    $("work").textContent = busy && work.kind ? work.kind + (work.of ? " " + work.done + " of " + work.of : "") : "";
    $("cancel").hidden = !(busy && work.kind);
    for (const id of ["undo", "redo"]) $(id).disabled = !state["can_" + id];
    for (const id of ["track", "play", "back", "forth", "lost", "take"]) $(id).disabled = !count || !!state.video.live;
    $("add").disabled = !count;
    $("scrub").disabled = !count;
    $("scrub").max = Math.max(count - 1, 0);
    $("drop").hidden = !!count;
    objects();
    paint();
  }

  function objects() {
    list($("objects"), { state, view, colors: about.colors }, {
      rename: attempt(async (id, name) => { await mine("objects/" + id, { name }); await refresh(); }),
      toggle: attempt(async (id) => { await mine("objects/" + id, { visible: !state.things[id].visible }); masks.clear(); await refresh(); }),
      choose: (id) => { view.chosen = id; objects(); attempt(memory)(); },
      remove,
    });
  }

  function layers(i) {
    const seen = state.results.get(i);
    if (!seen) return [];
    if (!masks.has(i)) {
      if (masks.size > 60) masks.delete(masks.keys().next().value);
      masks.set(i, Object.entries(seen).filter(([id]) => state.things[id] && state.things[id].visible)
        .map(([id, said]) => tinted(said.rle, about.colors[(id - 1) % about.colors.length])));
    }
    return masks.get(i);
  }

  function paint() {
    const ratio = window.devicePixelRatio || 1, width = stage.clientWidth, height = stage.clientHeight;
    if (stage.width !== Math.round(width * ratio) || stage.height !== Math.round(height * ratio)) {
      stage.width = Math.round(width * ratio);
      stage.height = Math.round(height * ratio);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, stage.width, stage.height);
    if (!state.video.count) return;
    const [h, w] = state.video.size, scale = Math.min(width / w, height / h) * view.zoom;
    view.scale = scale;
    view.left = (width - w * scale) / 2 + view.x;
    view.top = (height - h * scale) / 2 + view.y;
    pen.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * view.left, ratio * view.top);
    pen.imageSmoothingEnabled = scale < 3;
    if (view.image) pen.drawImage(view.image, 0, 0, w, h);
    for (const layer of layers(view.at)) pen.drawImage(layer, 0, 0);
    if (view.brush) { pen.globalAlpha = 0.6; pen.drawImage(view.brush, 0, 0); pen.globalAlpha = 1; }
    marks(pen, state.prompts.filter((p) => p.frame_idx === view.at), scale);
    const [x0, y0, x1, y1] = (view.drag && view.drag.box) || view.offered || [];
    if (y1 !== undefined) {
      pen.strokeStyle = "#fff"; pen.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    }
    $("at").textContent = "frame " + view.at + " / " + (state.video.count - 1) + "  " + (view.at / state.video.fps).toFixed(2) + " s";
    $("scrub").value = view.at;
    bars($("bars"), state, state.video.count, view.at);
  }

  function load(i) {
    if (!frames.has(i)) {
      if (frames.size > 90) frames.delete(frames.keys().next().value);
      const image = new Image();
      frames.set(i, new Promise((resolve, reject) => { image.onload = () => resolve(image); image.onerror = reject; }));
      image.src = "/api/visits/" + token + "/frames/" + i + ".jpg?v=" + view.stamp;
    }
    return frames.get(i);
  }

  /** Tell the server which frame is looked at, once it has been for a moment; then a click is answered at once. */
  function look() {
    clearTimeout(look.timer);
    if (state.prompts.length && !watching && !view.playing && !live) look.timer = setTimeout(() => mine("look/" + view.at).then(memory).catch(() => {}), 120);
  }

  async function go(i) {
    if (!state.video.count) return;
    look();
    view.at = Math.max(0, Math.min(state.video.count - 1, i));
    const wanted = view.at;
    const image = await load(wanted).catch(() => null);
    if (image && view.at === wanted) { view.image = image; objects(); paint(); }
    for (let k = 1; k < 6 && wanted + k < state.video.count; k++) load(wanted + k).catch(() => frames.delete(wanted + k));
  }

  async function play() {
    view.playing = !view.playing;
    $("play").textContent = view.playing ? "Pause" : "Play";
    if (view.playing && view.at >= state.video.count - 1) await go(0);
    while (view.playing && view.at < state.video.count - 1) {
      const due = performance.now() + 1000 / state.video.fps;
      await go(view.at + 1);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
    }
    view.playing = false;
    $("play").textContent = "Play";
  }

  // What a person does --------------------------------------------------------------------------
  const open = attempt(async (file) => {
    if (!file) return;
    if (file.size > about.limits.upload_mb * 1048576) throw new Error("the file has " + Math.round(file.size / 1048576) + " MB; the limit here is " + about.limits.upload_mb + " MB");
    view.playing = false;
    tell("sending " + file.name, false, true);
    await ask("visits/" + token + "/video?name=" + encodeURIComponent(file.name), { body: file, headers: { "Content-Type": "application/octet-stream" } });
    tell("");
    Object.assign(state, { results: new Map(), things: {}, prompts: [], fresh_until: -1, revision: 0, video: {}});
    frames.clear(); masks.clear();
    Object.assign(view, { at: 0, zoom: 1, x: 0, y: 0, image: null, chosen: null });
    const said = await follow();
    root.querySelector(".vm-name").textContent = state.video.name || "no video";
    view.stamp = Date.now(); // browsers keep frames by address; another video has other addresses
    await go(0);
    if (!said.work.error) tell(state.video.notes.join("; ") || "Click on an object, or draw a box around it.");
  });

  const fresh = () => Math.max(0, ...Object.keys(state.things)) + 1;

  const prompt = attempt(async (said) => {
    const obj_id = view.chosen ?? fresh();
    view.playing = false;
    if (live) {
      if (said.mask) throw new Error("with the camera, click or draw a box");
      live.say({ obj_id, ...said });
      view.chosen = obj_id;
      return;
    }
    const began = performance.now();
    await mine("prompt", { frame_idx: view.at, obj_id, ...said });
    view.chosen = obj_id;
    await refresh();
    root.dataset.answered = Date.now();
    attempt(memory)();
    root.dataset.answer = Math.round(performance.now() - began);
  });

  words($, { state, view, mine, attempt, paint, prompt, refresh, busy: () => live });
  const toggleLive = attempt(async () => {
    if (live) { live.stop(""); return; }
    view.playing = false;
    const address = (location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/api/visits/" + token + "/live", late = [];
    live = await camera(address, $("address").value.trim(), (answer, bitmap) => {
      if (answer.error) { tell(answer.error, true); return; }
      if (bitmap) { view.image = bitmap; state.video = { count: 1, size: answer.size, fps: 1, live: true }; }
      state.results = new Map([[0, answer.objects]]);
      state.things = Object.fromEntries(Object.keys(answer.objects).map((id) => [id, state.things[id] || { name: "object " + id, visible: true }]));
      masks.clear();
      if (answer.latency) late.push(answer.latency);
      if (late.length > 30) late.shift();
      const middle = [...late].sort((a, b) => a - b)[late.length >> 1];
      show({ work: {}, busy: false });
      $("work").textContent = "live: " + Math.round(middle || 0) + " ms late (median), " + answer.dropped + " dropped";
      root.dataset.live = answer.frame_idx;
    }, (why) => {
      live = null;
      $("live").textContent = "Camera";
      Object.assign(state, { results: new Map(), things: {}, prompts: [], revision: 0, video: {} });
      Object.assign(view, { image: null, chosen: null });
      $("work").textContent = "";
      tell(why || "the camera is off");
      attempt(refresh)().then(() => go(0));
    });
    $("live").textContent = "Stop camera";
    Object.assign(state, { results: new Map(), things: {}, prompts: [], video: {} });
    Object.assign(view, { at: 0, zoom: 1, x: 0, y: 0, chosen: null, image: null });
    masks.clear();
    root.querySelector(".vm-name").textContent = "camera";
    tell("Click on something.");
  });

  const remove = attempt(async (id) => {
    if (view.chosen === id) view.chosen = null;
    if (live) return live.say({ remove: id }); await mine("objects/" + id, { remove: true }); masks.clear(); await refresh(); });
  const undo = attempt(async (again) => { const said = await mine("undo" + (again ? "?again=true" : "")); masks.clear(); await refresh(); await go(said.frame_idx); });
  const track = attempt(async () => { await mine("track", { from: view.at }); await follow(); await memory(); });
  const take = attempt(async () => {
    await mine("export/" + $("export").value);
    const said = await follow();
    if (said && said.work.file) {
      const link = Object.assign(document.createElement("a"), { href: "/api/visits/" + token + "/export/" + encodeURIComponent(said.work.file), download: said.work.file });
      document.body.append(link);
      link.click();
      link.remove();
    }
  });

  async function memory() {
    const said = await ask("visits/" + token + "/memory", { method: "GET" });
    thumbnails($, said, view.chosen ?? Object.keys(said.objects)[0], (i) => "/api/visits/" + token + "/frames/" + i + ".jpg?v=" + view.stamp, go);
  }

  function nextLost() {
    for (let i = view.at + 1; i < state.video.count; i++) {
      const lost = (k) => Object.values(state.results.get(k) || {}).some((said) => said.status === "lost");
      if (lost(i) && !lost(i - 1)) return go(i);
    }
    tell("nothing is lost after this frame");
  }

  // Pointer -------------------------------------------------------------------------------------
  const spot = (event) => {
    const box = stage.getBoundingClientRect();
    return [(event.clientX - box.left - view.left) / view.scale, (event.clientY - box.top - view.top) / view.scale];
  };
  const inside = ([x, y]) => x >= 0 && y >= 0 && x <= state.video.size[1] && y <= state.video.size[0];

  function dab([x, y], from) {
    const brush = view.brush.getContext("2d");
    brush.strokeStyle = brush.fillStyle = "rgb(" + about.colors[((view.chosen ?? fresh()) - 1) % about.colors.length].join() + ")";
    brush.lineWidth = 22 / view.scale;
    brush.lineCap = "round";
    brush.beginPath();
    brush.moveTo(...(from || [x, y]));
    brush.lineTo(x, y + 0.01);
    brush.stroke();
  }

  stage.addEventListener("pointerdown", (event) => {
    root.querySelector(".vm").focus({ preventScroll: true });
    if (!state.video.count) return;
    stage.setPointerCapture(event.pointerId);
    const at = spot(event), tool = view.space || event.button === 1 ? "pan" : view.tool;
    view.drag = { tool, from: [event.clientX, event.clientY], at, negative: event.button === 2 || event.altKey, x: view.x, y: view.y };
    if (tool === "brush") {
      view.brush = Object.assign(document.createElement("canvas"), { width: state.video.size[1], height: state.video.size[0] });
      dab(at);
      paint();
    }
  });
  stage.addEventListener("pointermove", (event) => {
    const drag = view.drag;
    if (!drag) return;
    const at = spot(event);
    if (drag.tool === "pan") { view.x = drag.x + event.clientX - drag.from[0]; view.y = drag.y + event.clientY - drag.from[1]; }
    if (drag.tool === "box") drag.box = [...drag.at, ...at];
    if (drag.tool === "brush") { dab(at, drag.last || drag.at); drag.last = at; }
    paint();
  });
  stage.addEventListener("pointerup", attempt(async (event) => {
    const drag = view.drag, at = spot(event);
    view.drag = null;
    if (!drag) return;
    if (drag.tool === "point" && inside(at)) await prompt({ points: [at], labels: [drag.negative ? 0 : 1] });
    if (drag.tool === "box") {
      const [x0, y0] = drag.at, [x1, y1] = at, box = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
      if (box[2] - box[0] > 2 && box[3] - box[1] > 2) await prompt({ box });
    }
    if (drag.tool === "brush" && view.brush) {
      const { width, height } = view.brush, pixels = view.brush.getContext("2d").getImageData(0, 0, width, height).data;
      const mask = new Uint8Array(width * height).map((_, i) => pixels[4 * i + 3] > 127);
      view.brush = null;
      if (mask.some(Boolean)) await prompt({ mask: encode(mask, height, width) });
    }
    paint();
  }));
  stage.addEventListener("contextmenu", (event) => event.preventDefault());
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!state.video.count) return;
    const box = stage.getBoundingClientRect(), [x, y] = spot(event), zoom = Math.max(1, Math.min(20, view.zoom * Math.exp(-event.deltaY / 400)));
    const scale = (view.scale * zoom) / view.zoom, [h, w] = state.video.size;
    view.zoom = zoom;
    view.x = zoom === 1 ? 0 : event.clientX - box.left - x * scale - (box.width - w * scale) / 2;
    view.y = zoom === 1 ? 0 : event.clientY - box.top - y * scale - (box.height - h * scale) / 2;
    paint();
  }, { passive: false });

  // Keys and buttons ----------------------------------------------------------------------------
  function tool(name) {
    view.tool = name;
    root.querySelectorAll("[data-tool]").forEach((button) => button.classList.toggle("on", button.dataset.tool === name));
    stage.style.cursor = name === "pan" ? "grab" : "crosshair";
  }
  const fit = () => { Object.assign(view, { zoom: 1, x: 0, y: 0 }); paint(); }, another = () => { view.chosen = null; objects(); tell("the next click makes a new object"); };
  const keys = {
    arrowleft: (e) => go(view.at - (e.shiftKey ? 10 : 1)), arrowright: (e) => go(view.at + (e.shiftKey ? 10 : 1)), home: () => go(0), end: () => go(1e9),
    t: track, l: nextLost, n: another, p: () => tool("point"), b: () => tool("box"), m: () => tool("brush"), h: () => tool("pan"), 0: fit,
    delete: () => view.chosen && remove(view.chosen), "?": () => $("keys").showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range") return;
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && (key === "z" || key === "y")) { event.preventDefault(); undo(key === "y" || event.shiftKey); return; }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key === " ") { event.preventDefault(); view.space = true; return; }
    if (/^[1-9]$/.test(key) && state.things[key]) { view.chosen = +key; objects(); return; }
    if (keys[key]) { event.preventDefault(); keys[key](event); }
  });
  document.addEventListener("keyup", (event) => {
    if (event.key !== " " || !view.space) return;
    view.space = false;
    if (!view.drag && !/^(INPUT|SELECT|BUTTON)$/.test(event.target.tagName)) play();
  });
  root.querySelectorAll("[data-tool]").forEach((button) => (button.onclick = () => tool(button.dataset.tool)));
  const does = { live: toggleLive, track, play, take, fit, add: another, lost: nextLost, back: () => go(view.at - 1), forth: () => go(view.at + 1), help: () => $("keys").showModal(),
    undo: () => undo(false), redo: () => undo(true), cancel: attempt(async () => { await mine("cancel"); await refresh(); }) };
  for (const [id, action] of Object.entries(does)) $(id).onclick = (event) => { event.currentTarget.blur(); action(); };
  $("scrub").oninput = () => { view.playing = false; go(+$("scrub").value); };
  $("bars").onclick = (event) => go(Math.floor((event.offsetX / $("bars").clientWidth) * state.video.count));
  $("file").onchange = () => { open($("file").files[0]); $("file").value = ""; };
  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", (event) => { event.preventDefault(); open(event.dataTransfer.files[0]); });
  new ResizeObserver(paint).observe(stage);

  // Memories ------------------------------------------------------------------------------------
  const changed = () => ($("apply").disabled = false);
  $("apply").onclick = attempt(async () => {
    await mine("settings", { bank: $("bank").value, search: $("search").value, bank_numbers: gather($, "bank"), search_numbers: gather($, "search") });
    $("apply").disabled = true;
    if (state.prompts.length) { await mine("track", { from: 0 }); await follow(); await memory(); }
  });

  await attempt(async () => {
    about = await ask("about", { method: "GET" });
    token = (await ask("visits")).token;
    root.dataset.token = token;
    for (const kind of ["bank", "search"]) {
      $(kind).append(...Object.keys(about.policies[kind]).map((name) => new Option(name)));
      $(kind).value = about.chosen[kind];
      $(kind).onchange = () => { controls($, about.policies, kind, changed); changed(); };
      controls($, about.policies, kind, changed);
    }
    $("address").hidden = !about.limits.allow_url;
    $("export").append(...Object.entries(about.exports).map(([name, text]) => new Option(text, name)));
    window.addEventListener("pagehide", () => navigator.sendBeacon("/api/visits/" + token + "/end"));
    setInterval(() => ask("visits/" + token + "/state?since=" + state.revision, { method: "GET" }).catch(() => {}), 60000); // still here
    await refresh();
    root.dataset.ready = "yes";
  })();
}
