// The workbench. The server holds the truth; this asks for what changed and shows it.
import { cameras } from "./camera.js";
import { files } from "./files.js";
import { keys } from "./keys.js";
import { controls, gather, list, said as saidHere, thumbnails } from "./memory.js";
import { projects } from "./projects.js";
import { stage } from "./stage.js";
import { talk } from "./talk.js";
import { timeline } from "./timeline.js";
import { words } from "./words.js";

const POLL = 120; // milliseconds between questions while something is going on
const NOTHING = () => ({ results: new Map(), things: {}, prompts: [], fresh: {}, cuts: [], stale_from: null, fresh_until: -1, revision: 0, video: {}, can_undo: false, can_redo: false });

export async function start(root) {
  const $ = (id) => root.querySelector("[data-id=" + id + "]");
  const state = NOTHING(), frames = new Map();
  const view = { at: 0, zoom: 1, x: 0, y: 0, tool: "point", chosen: null, image: null, drag: null, playing: false, space: false, stroke: null, brush: 22, hover: null, over: null,
    pending: [], following: false, stamp: "" };
  const page = { root, $, state, view, about: null, token: null, live: null, busy: false, kept: null, sending: false };
  let watching = null;
  talk(page);
  const { tell, attempt, mine } = page;

  // What the server says ------------------------------------------------------------------------
  page.forget = () => {
    Object.assign(state, NOTHING());
    Object.assign(view, { at: 0, zoom: 1, x: 0, y: 0, image: null, chosen: null, pending: [], over: null, offered: null });
    frames.clear();
    page.forgetMasks();
  };

  /** An answer of the server, shown. */
  function heard(said) {
    if (said.video && said.video.count !== undefined) state.video = said.video;
    for (const [i, seen] of Object.entries(said.results || {})) { state.results.set(+i, seen); page.forgetMasks(+i); }
    if (said.revision !== undefined) state.revision = said.revision;
    for (const key of ["things", "prompts", "fresh", "cuts", "stale_from", "fresh_until", "can_undo", "can_redo"]) if (key in said) state[key] = said[key];
    Object.assign(page, { busy: said.busy, kept: said.kept });
  }

  page.refresh = async () => {
    let said;
    do heard((said = await page.get("visits/" + page.token + "/state?since=" + state.revision))); while (said.more);
    page.show(said);
    return said;
  };

  async function watch() {
    for (;;) {
      const said = await page.refresh();
      if (!said.busy) {
        if (said.work.error) tell(said.work.error, true);
        return said;
      }
      if (view.following && said.work.kind === "tracking" && said.work.at !== undefined) await page.go(said.work.at);
      await new Promise((resolve) => setTimeout(resolve, POLL));
    }
  }

  /** Show what goes on until it is over -> the last state. One watch at a time: a later one begins when the earlier is over. */
  page.follow = async () => {
    while (watching) await watching.catch(() => {});
    watching = watch();
    try { return await watching; } finally { watching = null; }
  };

  // Showing -------------------------------------------------------------------------------------
  page.show = (said) => {
    const { work, busy } = said, count = state.video.count || 0, live = !!state.video.live;
    $("work").textContent = busy && work.kind ? work.kind + (work.of ? " " + work.done + " of " + work.of : "") : "";
    $("cancel").hidden = !(busy && work.kind);
    for (const id of ["undo", "redo"]) $(id).disabled = !state["can_" + id];
    for (const id of ["track", "way", "play", "back", "forth", "lost", "take", "export", "picked"]) $(id).disabled = !count || live;
    $("add").disabled = !count;
    $("scrub").disabled = !count || live;
    $("scrub").max = Math.max(count - 1, 0);
    $("drop").hidden = !!count || !!page.live;
    root.querySelector(".vm").classList.toggle("empty", !count);
    const stale = count && !live && state.prompts.length && state.stale_from !== null;
    $("stale").hidden = !stale;
    if (stale) $("stale").textContent = (state.stale_from < count - 1 ? "Frames " + state.stale_from + " to " + (count - 1) + " are" : "Frame " + state.stale_from + " is") + " not up to date: press Track before you export.";
    page.showKept();
    objects();
    page.paint();
  };

  function objects() {
    list($("objects"), page, {
      rename: attempt(async (id, name) => { await mine("objects/" + id, { name }); await page.refresh(); attempt(memory)(); }),
      toggle: attempt(async (id) => { await mine("objects/" + id, { visible: !state.things[id].visible }); page.forgetMasks(); await page.refresh(); }),
      choose: page.choose,
      remove: page.remove,
    });
    saidHere($("said"), page);
  }

  page.choose = (id) => { view.chosen = id; objects(); page.bars(); attempt(memory)(); };

  /** What says where we are: called by `paint`. */
  page.place = () => {
    $("at").textContent = "frame " + view.at + " / " + (state.video.count - 1) + "  " + (view.at / state.video.fps).toFixed(2) + " s";
    $("scrub").value = view.at;
    $("memory").classList.toggle("old", page.remembered !== view.at);
    page.bars();
  };

  function load(i) {
    if (!frames.has(i)) {
      if (frames.size > 90) frames.delete(frames.keys().next().value);
      const image = new Image();
      frames.set(i, new Promise((resolve, reject) => { image.onload = () => resolve(image); image.onerror = reject; }));
      image.src = page.frame(i);
    }
    return frames.get(i);
  }

  /** Tell the server which frame is looked at, once it has been for a moment; then a click is answered at once, and the memory shown is that frame's. */
  function look() {
    clearTimeout(look.timer);
    if (!watching && !view.playing && !page.live) look.timer = setTimeout(() => mine("look/" + view.at).then(memory).catch(() => {}), 120);
  }

  /** Show a frame. own: a person went there, so the picture does not follow the tracking any more. */
  page.go = async (i, own = false) => {
    if (!state.video.count || state.video.live) return;
    if (own) view.playing = view.following = false;
    view.at = Math.max(0, Math.min(state.video.count - 1, i));
    const wanted = view.at;
    look();
    const image = await load(wanted).catch(() => null);
    if (image && view.at === wanted) { view.image = image; objects(); page.paint(); }
    for (let k = 1; k < 6 && wanted + k < state.video.count; k++) load(wanted + k).catch(() => frames.delete(wanted + k));
  };

  page.play = async () => {
    view.playing = !view.playing;
    view.following = false;
    $("play").textContent = view.playing ? "Pause" : "Play";
    if (view.playing && view.at >= state.video.count - 1) await page.go(0);
    while (view.playing && view.at < state.video.count - 1) {
      const due = performance.now() + 1000 / state.video.fps;
      await page.go(view.at + 1);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())));
    }
    view.playing = false;
    $("play").textContent = "Play";
    look();
  };

  // What a person does --------------------------------------------------------------------------
  page.free = () => Math.max(0, ...Object.keys(state.things)) + 1;

  page.prompt = attempt(async (said) => {
    const obj_id = view.chosen ?? page.free();
    view.playing = view.following = false;
    if (page.live) {
      if (said.mask) throw new Error("with the camera, click or draw a box");
      page.live.say({ obj_id, ...said });
      view.chosen = obj_id;
      return;
    }
    const began = performance.now(), pending = { frame_idx: view.at, obj_id, prompt: said };
    view.pending = [...view.pending, pending]; // its dot, before the answer
    tell("");
    page.paint();
    try {
      const answer = await mine("prompt", { frame_idx: view.at, obj_id, since: state.revision, ...said });
      view.chosen = obj_id;
      view.pending = view.pending.filter((one) => one !== pending);
      heard(answer);
      if (answer.more) await page.refresh(); else page.show(answer);
    } catch (error) {
      view.pending = view.pending.filter((one) => one !== pending);
      page.paint();
      throw error;
    }
    root.dataset.answered = Date.now();
    root.dataset.answer = Math.round(performance.now() - began);
    attempt(memory)();
  });

  page.unsay = attempt(async ({ obj_id, edit, point }) => {
    view.over = null;
    await mine("unsay", { frame_idx: view.at, obj_id, edit, point });
    await page.refresh();
    attempt(memory)();
  });

  page.remove = attempt(async (id) => {
    if (view.chosen === id) view.chosen = null;
    if (page.live) return page.live.say({ remove: id });
    await mine("objects/" + id, { remove: true });
    page.forgetMasks();
    return page.refresh();
  });
  page.undo = attempt(async (again) => { const said = await mine("undo" + (again ? "?again=true" : "")); page.forgetMasks(); await page.refresh(); await page.go(said.frame_idx, true); });

  page.track = attempt(async () => {
    const way = $("way").value, until = way === "until" ? { until: Math.max(0, Math.min(state.video.count - 1, Math.floor(+$("until").value || 0))) } : {};
    const back = way === "until" && state.prompts.length && until.until < Math.min(...state.prompts.map((p) => p.frame_idx));
    await mine("track", { way: back ? "back" : way === "until" ? "forward" : way, ...until });
    view.playing = false;
    view.following = true;
    const said = await page.follow();
    if (view.following && said.work.at !== undefined) await page.go(said.work.at);
    view.following = false;
    if (!said.work.error && !said.work.of) tell("everything is up to date; click to correct something");
    look();
  });

  page.picked = attempt(async () => {
    await mine("picked");
    page.kept = null;
    state.prompts = [];
    tell("Thank you. vidmem track goes on in the terminal; you can close this page.", false, true);
  });

  page.take = attempt(async () => {
    await mine("export/" + $("export").value);
    const said = await page.follow();
    if (said && said.work.file) {
      const link = Object.assign(document.createElement("a"), { href: "/api/visits/" + page.token + "/export/" + encodeURIComponent(said.work.file), download: said.work.file });
      document.body.append(link);
      link.click();
      link.remove();
      if (!$("stale").hidden) tell("exported. " + $("stale").textContent, true);
    }
  });

  async function memory() {
    const said = await page.get("visits/" + page.token + "/memory");
    page.remembered = said.frame_idx; // which is another frame while the server is on its way to the one shown
    $("memory").classList.toggle("old", page.remembered !== view.at);
    thumbnails(page, said, view.chosen ?? Object.keys(said.objects)[0]);
  }

  // Its parts -----------------------------------------------------------------------------------
  stage(page);
  timeline(page);
  files(page);
  projects(page);
  cameras(page);
  keys(page);
  words($, { state, view, mine, attempt, paint: page.paint, prompt: page.prompt, refresh: page.refresh, busy: () => page.live });

  const changed = () => ($("apply").disabled = false);
  $("apply").onclick = attempt(async () => {
    await mine("settings", { bank: $("bank").value, search: $("search").value, bank_numbers: gather($, "bank"), search_numbers: gather($, "search") });
    $("apply").disabled = true;
    await page.refresh();
    if (state.prompts.length) { await mine("track", {}); view.following = true; await page.follow(); view.following = false; await memory(); }
  });

  await attempt(async () => {
    page.about = await page.get("about");
    const { about } = page, at = await page.arrive();
    root.dataset.token = page.token;
    for (const kind of ["bank", "search"]) {
      $(kind).append(...Object.keys(about.policies[kind]).map((name) => new Option(name)));
      $(kind).value = about.chosen[kind];
      $(kind).onchange = () => { controls($, about.policies, kind, changed); changed(); };
      controls($, about.policies, kind, changed);
    }
    $("address").hidden = !about.limits.allow_url;
    $("example").hidden = !about.example;
    $("picked").hidden = !about.picking;
    $("track").classList.toggle("vm-primary", !about.picking);
    if (about.picking) $("track").textContent = "Try it here";
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", page.bars);
    $("export").append(...Object.entries(about.exports).map(([name, text]) => new Option(text, name)));
    setInterval(page.askKept, 20000); // still here
    if (at === null && about.given) await page.read(() => mine("given"));
    else if (at !== null) await page.shown(null, at);
    else await page.refresh();
    if (!state.video.count) page.offer();
    root.dataset.ready = "yes";
  })();
}
