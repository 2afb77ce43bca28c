// The picture: frames, masks, dots, strokes; and what a pointer does on it.
import { boxes, encode, marks, tinted } from "./draw.js";

const NEAR = 8; // pixels from a dot within which a click means the dot

export function stage(page) {
  const { $, state, view, tell, attempt } = page, canvas = $("canvas"), pen = canvas.getContext("2d"), masks = new Map(), pointers = new Map();
  const colour = (id) => page.about.colors[(id - 1) % page.about.colors.length];
  let pinch = null;
  page.forgetMasks = (i) => (i === undefined ? masks.clear() : masks.delete(i));

  // Showing -------------------------------------------------------------------------------------
  function layers(i) {
    const seen = state.results.get(i);
    if (!seen) return [];
    if (!masks.has(i)) {
      if (masks.size > 60) masks.delete(masks.keys().next().value);
      masks.set(i, Object.entries(seen).filter(([id]) => state.things[id] && state.things[id].visible).map(([id, said]) => [id, tinted(said.rle, colour(id))]));
    }
    return masks.get(i);
  }

  page.paint = () => {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!state.video.count) return;
    const [h, w] = state.video.size, scale = Math.min(width / w, height / h) * view.zoom;
    view.scale = scale;
    view.left = (width - w * scale) / 2 + view.x;
    view.top = (height - h * scale) / 2 + view.y;
    pen.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * view.left, ratio * view.top);
    pen.imageSmoothingEnabled = scale < 3;
    if (view.image) pen.drawImage(view.image, 0, 0, w, h);
    for (const [id, layer] of layers(view.at)) {
      pen.globalAlpha = state.video.live || page.fresh(id, view.at) ? 1 : 0.55;
      pen.drawImage(layer, 0, 0);
    }
    pen.globalAlpha = 1;
    if (view.heat) { pen.imageSmoothingEnabled = true; pen.drawImage(view.heat, 0, 0, w, h); }
    boxes(pen, view.candidates, view.offered, scale);
    if (view.stroke) { pen.globalAlpha = 0.6; pen.drawImage(view.stroke, 0, 0); pen.globalAlpha = 1; }
    marks(pen, [...state.prompts, ...view.pending].filter((p) => p.frame_idx === view.at), scale, view.over);
    const [x0, y0, x1, y1] = (view.drag && view.drag.box) || [];
    if (y1 !== undefined) {
      pen.strokeStyle = "#fff";
      pen.strokeRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    }
    if (view.hover && brushing()) {
      pen.lineWidth = 1.5 / scale;
      pen.strokeStyle = view.tool === "eraser" ? "#ff7765" : "#fff";
      pen.beginPath();
      pen.arc(...view.hover, view.brush / 2 / scale, 0, 7);
      pen.stroke();
    }
    page.place();
  };

  // Where ---------------------------------------------------------------------------------------
  const spot = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left - view.left) / view.scale, (event.clientY - box.top - view.top) / view.scale];
  };
  const inside = ([x, y]) => x >= 0 && y >= 0 && x <= state.video.size[1] && y <= state.video.size[0];
  const brushing = () => view.tool === "brush" || view.tool === "eraser";

  /** The dot under a spot: which of the things said on this frame, and which point of it. */
  function dot([x, y]) {
    const counts = {};
    for (const { frame_idx, obj_id, prompt } of state.prompts) {
      if (frame_idx !== view.at) continue;
      const edit = (counts[obj_id] = (counts[obj_id] ?? -1) + 1);
      const point = (prompt.points || []).findIndex(([px, py]) => Math.hypot(px - x, py - y) * view.scale < NEAR);
      if (point >= 0) return { obj_id, edit, point, at: prompt.points[point] };
    }
    return null;
  }

  /** Whether the object's mask is at a spot of the frame shown, or close to it. */
  function covers(id, [x, y]) {
    const found = layers(view.at).find(([one]) => +one === id), far = Math.max(1, Math.round(NEAR / view.scale));
    if (!found) return false;
    const data = found[1].getContext("2d").getImageData(Math.round(x) - far, Math.round(y) - far, 2 * far + 1, 2 * far + 1).data;
    for (let i = 3; i < data.length; i += 4) if (data[i]) return true;
    return false;
  }

  /** The candidate at a spot; of several the smallest, which no other one hides. */
  function candidate([x, y]) {
    const here = view.candidates.filter(({ box: [x0, y0, x1, y1] }) => x >= x0 && x <= x1 && y >= y0 && y <= y1);
    const area = ({ box: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);
    return here.sort((one, other) => area(one) - area(other))[0] || null;
  }

  /** Why a click that says "not here" would say nothing; null where it says something. */
  function pointless(at) {
    if (page.live) return null;
    if (!view.chosen || !state.things[view.chosen]) return "choose an object first: this click takes away a part of it";
    const { name, visible } = state.things[view.chosen];
    return !visible || covers(view.chosen, at) ? null : "there is nothing of " + name + " here that could be taken away";
  }

  function zoom(factor, clientX, clientY) {
    const box = canvas.getBoundingClientRect(), [x, y] = spot({ clientX, clientY }), next = Math.max(1, Math.min(20, view.zoom * factor));
    const scale = (view.scale * next) / view.zoom, [h, w] = state.video.size;
    view.zoom = next;
    view.x = next === 1 ? 0 : clientX - box.left - x * scale - (box.width - w * scale) / 2;
    view.y = next === 1 ? 0 : clientY - box.top - y * scale - (box.height - h * scale) / 2;
    page.paint();
  }

  // Brush and eraser ----------------------------------------------------------------------------
  function dab([x, y], from, erase) {
    const brush = view.stroke.getContext("2d");
    brush.strokeStyle = erase ? "#ff7765" : "rgb(" + colour(view.chosen ?? page.free()).join() + ")";
    brush.lineWidth = view.brush / view.scale;
    brush.lineCap = "round";
    brush.beginPath();
    brush.moveTo(...(from || [x, y]));
    brush.lineTo(x, y + 0.01);
    brush.stroke();
  }

  /** The object's mask with the stroke added, or taken away -> a prompt; null where nothing would be left. */
  function painted(erase) {
    const { width, height } = view.stroke, over = view.stroke.getContext("2d").getImageData(0, 0, width, height).data;
    const had = view.chosen && layers(view.at).find(([id]) => +id === view.chosen);
    const before = had ? had[1].getContext("2d").getImageData(0, 0, width, height).data : null, mask = new Uint8Array(width * height);
    for (let i = 0; i < mask.length; i++) mask[i] = over[4 * i + 3] > 127 ? !erase : before ? before[4 * i + 3] > 0 : 0;
    return mask.some(Boolean) ? { mask: encode(mask, height, width) } : null;
  }

  page.resize = (factor) => { view.brush = Math.max(3, Math.min(200, view.brush * factor)); page.paint(); };

  // Pointer -------------------------------------------------------------------------------------
  canvas.addEventListener("pointerdown", (event) => {
    page.root.querySelector(".vm").focus({ preventScroll: true });
    if (!state.video.count) return;
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (pointers.size === 2) { view.drag = view.stroke = null; pinch = apart(); page.paint(); return; }
    const at = spot(event), tool = view.space || event.button === 1 ? "pan" : view.tool, negative = event.button === 2 || event.altKey;
    view.drag = { tool, from: [event.clientX, event.clientY], at, negative, x: view.x, y: view.y };
    if (tool === "brush" || tool === "eraser") {
      view.drag.erase = tool === "eraser" || negative;
      view.stroke = Object.assign(document.createElement("canvas"), { width: state.video.size[1], height: state.video.size[0] });
      dab(at, null, view.drag.erase);
      page.paint();
    }
  });

  const apart = () => { const [[a, b], [c, d]] = [...pointers.values()]; return { far: Math.hypot(a - c, b - d), x: (a + c) / 2, y: (b + d) / 2 }; };

  canvas.addEventListener("pointermove", (event) => {
    if (pointers.has(event.pointerId)) pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (!state.video.count) return;
    if (pinch && pointers.size === 2) {
      const now = apart();
      view.x += now.x - pinch.x;
      view.y += now.y - pinch.y;
      zoom(now.far / Math.max(1, pinch.far), now.x, now.y);
      pinch = now;
      return;
    }
    const drag = view.drag, at = spot(event);
    view.hover = event.pointerType === "touch" ? null : at;
    if (!drag) {
      const offered = view.tool === "point" ? candidate(at) : null;
      if (view.candidates.length && offered !== view.offered) { view.offered = offered; page.paint(); }
      const over = view.tool === "point" ? dot(at) : null, changed = JSON.stringify(over && over.at) !== JSON.stringify(view.over);
      view.over = over && over.at;
      canvas.title = over ? "click to take this click back" : offered ? "click: this is it" : "";
      if (changed || brushing()) page.paint();
      return;
    }
    if (drag.tool === "pan") { view.x = drag.x + event.clientX - drag.from[0]; view.y = drag.y + event.clientY - drag.from[1]; }
    if (drag.tool === "box") drag.box = [...drag.at, ...at];
    if (view.stroke) { dab(at, drag.last || drag.at, drag.erase); drag.last = at; }
    page.paint();
  });

  canvas.addEventListener("pointerup", attempt(async (event) => {
    pointers.delete(event.pointerId);
    if (pinch) { if (!pointers.size) pinch = null; return; }
    const drag = view.drag, at = spot(event);
    view.drag = null;
    if (!drag) return;
    if (drag.tool === "point" && inside(at)) {
      const there = page.live ? null : dot(at), found = there || drag.negative ? null : candidate(at);
      const why = !there && drag.negative ? pointless(at) : null;
      if (there) await page.unsay(there);
      else if (why) tell(why);
      else if (found) await page.accept({ box: found.box }, found.name);
      else await page.prompt({ points: [at], labels: [drag.negative ? 0 : 1] });
    }
    if (drag.tool === "box") {
      const [x0, y0] = drag.at, [x1, y1] = at, box = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
      if (box[2] - box[0] > 2 && box[3] - box[1] > 2) await page.prompt({ box });
    }
    if (view.stroke) {
      const said = painted(drag.erase);
      if (said && drag.erase && !view.chosen) tell("choose an object first, then take from its mask", true);
      else if (said) await page.prompt(said);
      else tell("nothing would be left of it; to remove the object press Delete", true);
      view.stroke = null;
    }
    page.paint();
  }));
  canvas.addEventListener("pointercancel", (event) => { pointers.delete(event.pointerId); pinch = view.drag = view.stroke = null; page.paint(); });
  canvas.addEventListener("pointerleave", () => { view.hover = null; page.paint(); });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!state.video.count) return;
    if (brushing() && !event.ctrlKey) page.resize(Math.exp(-event.deltaY / 600));
    else zoom(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
  }, { passive: false });
  new ResizeObserver(page.paint).observe(canvas);
}
