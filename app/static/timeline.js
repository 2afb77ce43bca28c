// The timeline: small pictures, and a bar for each object with its colour and name.

const ROW = 18; // pixels
const MARK = { ambiguous: "#8e54c7", lost: "#c0392b", low: "#e08a00" };

export function timeline(page) {
  const { $, state, view } = page, pictures = new Map();
  const colour = (id) => "rgb(" + page.about.colors[(id - 1) % page.about.colors.length].join() + ")";
  const fresh = (id, i) => { const span = state.fresh[id]; return !!state.video.live || (!!span && i >= span[0] && i <= span[1]); };
  page.fresh = fresh;
  const told = () => new Set(state.prompts.map((prompt) => prompt.obj_id + "/" + prompt.frame_idx)); // where a person has looked already
  const unsure = (seen) => seen.status === "tracking" && seen.score < page.about.unsure;
  /** Whether a person should look at what one frame gave for one object. */
  const doubtful = (seen) => seen.status === "lost" || seen.status === "ambiguous" || unsure(seen);

  function sized(canvas, height) {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth;
    canvas.style.height = height + "px";
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    return [pen, width];
  }

  /** A dozen frames, evenly. */
  page.thumbs = () => {
    const canvas = $("thumbs"), [pen, width] = sized(canvas, state.video.count && !state.video.live ? 38 : 0);
    if (!state.video.count || state.video.live || !width) return;
    const [h, w] = state.video.size, each = Math.min(120, Math.max(20, (38 * w) / h)), count = Math.max(1, Math.floor(width / each));
    for (let k = 0; k < count; k++) {
      const i = Math.min(state.video.count - 1, Math.floor(((k + 0.5) / count) * state.video.count)), key = view.stamp + "/" + i;
      if (!pictures.has(key)) {
        if (pictures.size > 200) pictures.delete(pictures.keys().next().value);
        pictures.set(key, Object.assign(new Image(), { src: page.frame(i, true) }));
      }
      const image = pictures.get(key), draw = () => pen.drawImage(image, (k * width) / count, 0, width / count - 1, 38);
      if (image.complete && image.naturalWidth) draw(); else image.onload = draw;
    }
  };

  function labels(ids) {
    const key = JSON.stringify(ids.map((id) => [id, state.things[id].name, +id === view.chosen]));
    if ($("names").dataset.key === key) return;
    $("names").dataset.key = key;
    $("names").replaceChildren(...ids.map((id) => {
      const row = Object.assign(document.createElement("div"), { className: "vm-label" + (+id === view.chosen ? " on" : ""), title: state.things[id].name });
      row.append(Object.assign(document.createElement("i"), { style: "background:" + colour(id) }), state.things[id].name);
      row.onclick = () => page.choose(+id);
      return row;
    }));
  }

  page.bars = () => {
    const ids = Object.keys(state.things), count = Math.max(state.video.count || 0, 1), looked = told();
    labels(ids);
    const [pen, width] = sized($("bars"), Math.max(ROW * ids.length, 1)), each = width / count, ink = getComputedStyle($("bars")).color;
    ids.forEach((id, n) => {
      const top = n * ROW + 3, high = ROW - 6;
      pen.fillStyle = ink;
      pen.globalAlpha = 0.08;
      pen.fillRect(0, top, width, high);
      for (const [i, results] of state.results) {
        const seen = results[id];
        if (!seen) continue;
        const x = Math.round(i * each), wide = Math.max(1, Math.round((i + 1) * each) - x), faded = fresh(id, i) ? 1 : 0.3;
        const draw = (fill, alpha, y, height) => { pen.fillStyle = fill; pen.globalAlpha = alpha * faded; pen.fillRect(x, y, wide, height); };
        if (seen.status === "tracking" || seen.status === "ambiguous") draw(colour(id), 0.3 + 0.7 * Math.max(0, Math.min(1, seen.score)), top, high);
        if (seen.status === "occluded") draw(colour(id), 0.8, top + high / 2 - 1, 2);
        if (seen.status === "lost") draw(MARK.lost, 1, top + high / 2 - 2, 4);
        if (seen.status === "ambiguous") draw(MARK.ambiguous, 1, top + high - 4, 4);
        if (unsure(seen) && !looked.has(id + "/" + i)) draw(MARK.low, 1, top + high - 4, 4);
      }
      pen.globalAlpha = 1;
      pen.fillStyle = ink;
      for (const prompt of state.prompts) if (prompt.obj_id == id) pen.fillRect(prompt.frame_idx * each, top - 2, 2.5, high + 4);
    });
    pen.fillStyle = ink;
    for (const i of state.cuts) for (let y = 0; y < ROW * ids.length; y += 6) pen.fillRect(i * each, y, 1, 3);
    pen.globalAlpha = 0.8;
    pen.fillRect((view.at + 0.5) * each, 0, 1.5, ROW * ids.length);
    pen.globalAlpha = 1;
  };

  /** To the next frame on which something begins to be doubtful. */
  page.nextDoubt = () => {
    const looked = told(), at = (i) => Object.entries(state.results.get(i) || {}).filter(([id, seen]) => state.things[id] && doubtful(seen) && !looked.has(id + "/" + i)).map(([id]) => id);
    for (let i = view.at + 1; i < state.video.count; i++) {
      const before = new Set(at(i - 1)), begun = at(i).find((id) => !before.has(id));
      if (begun) {
        view.chosen = +begun;
        const seen = state.results.get(i)[begun], why = seen.status === "tracking" ? "is unsure (" + Math.round(100 * seen.score) + "%)" : "is " + seen.status;
        page.tell(state.things[begun].name + " " + why + " here: click to correct it, then Track");
        return page.go(i);
      }
    }
    page.tell("nothing to check after this frame");
  };

  const to = (event) => page.go(Math.floor((event.offsetX / event.currentTarget.clientWidth) * state.video.count), true);
  $("bars").onclick = to;
  $("thumbs").onclick = to;
  $("scrub").oninput = () => page.go(+$("scrub").value, true);
  new ResizeObserver(() => { page.thumbs(); page.bars(); }).observe($("scrub"));
}
