// Keys and buttons: names of what a person can do.

export function keys(page) {
  const { $, root, state, view, attempt } = page, canvas = $("canvas");

  function tool(name) {
    view.tool = name;
    root.querySelectorAll("[data-tool]").forEach((button) => button.classList.toggle("on", button.dataset.tool === name));
    canvas.style.cursor = name === "pan" ? "grab" : "crosshair";
    page.paint();
  }
  const fit = () => { Object.assign(view, { zoom: 1, x: 0, y: 0 }); page.paint(); }, help = () => $("keys").showModal();
  const another = () => { page.choose(null); page.tell("the next click makes a new object"); };
  const step = (by) => page.go(view.at + by, true);
  const pressed = {
    arrowleft: (e) => step(e.shiftKey ? -10 : -1), arrowright: (e) => step(e.shiftKey ? 10 : 1), home: () => page.go(0, true), end: () => page.go(1e9, true),
    t: page.track, l: page.nextDoubt, n: another, p: () => tool("point"), b: () => tool("box"), m: () => tool("brush"), e: () => tool("eraser"), h: () => tool("pan"),
    "[": () => page.resize(0.8), "]": () => page.resize(1.25), 0: fit, delete: () => view.chosen && page.remove(view.chosen), "?": help,
  };

  document.addEventListener("keydown", (event) => {
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range") return;
    if (root.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && (key === "z" || key === "y")) { event.preventDefault(); page.undo(key === "y" || event.shiftKey); return; }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key === " ") { event.preventDefault(); view.space = true; return; }
    if (/^[1-9]$/.test(key) && state.things[key]) { page.choose(+key); return; }
    if (pressed[key]) { event.preventDefault(); pressed[key](event); }
  });
  document.addEventListener("keyup", (event) => {
    if (event.key !== " " || !view.space) return;
    view.space = false;
    if (!view.drag && !/^(INPUT|SELECT|BUTTON)$/.test(event.target.tagName)) page.play();
  });

  root.querySelectorAll("[data-tool]").forEach((button) => (button.onclick = () => tool(button.dataset.tool)));
  const does = {
    live: page.toggleLive, track: page.track, play: page.play, take: page.take, fit, add: another, lost: page.nextDoubt, back: () => step(-1), forth: () => step(1), help,
    undo: () => page.undo(false), redo: () => page.undo(true), cancel: attempt(async () => { await page.mine("cancel"); await page.refresh(); }), picked: page.picked,
  };
  for (const [id, action] of Object.entries(does)) $(id).onclick = (event) => { event.currentTarget.blur(); action(); };
  $("way").onchange = () => { $("until").hidden = $("way").value !== "until"; if (!$("until").hidden) { $("until").max = state.video.count - 1; $("until").value = state.video.count - 1; } };
}
