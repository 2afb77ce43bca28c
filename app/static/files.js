// Opening: a video, several one after another, pictures, a folder of them, a project, the example.
import { zip } from "./zip.js";

const PICTURE = /\.(jpe?g|png|webp|bmp)$/i;

/** page.open(files), page.shown() after something was read; page.sending while a file goes up. */
export function files(page) {
  const { $, state, view, tell, attempt } = page, waiting = [];

  function showWaiting() {
    $("next").hidden = !waiting.length;
    $("next").textContent = "Next video (" + waiting.length + ")";
  }

  /** What was read is on the screen: forget what was there before. */
  page.shown = async (work, at = 0) => {
    page.forget();
    const said = await page.follow();
    if (said.work.error && !state.video.count) return said;
    page.root.querySelector(".vm-name").textContent = state.video.name || "no video";
    view.stamp = page.token.slice(0, 6) + (state.video.name || "") + Date.now(); // browsers keep frames by address
    page.remember();
    page.thumbs();
    await page.go(Math.min(at, (state.video.count || 1) - 1));
    if (!said.work.error) tell(state.video.notes.join("; ") || (state.prompts.length ? "" : "Click on an object, or draw a box around it."));
    return said;
  };

  page.read = attempt(async (ask) => {
    view.playing = false;
    await ask();
    tell("");
    await page.shown();
  });

  async function send(body, name) {
    const most = page.about.limits.upload_mb;
    if (body.size > most * 1048576) throw new Error(name + " has " + Math.round(body.size / 1048576) + " MB; the limit here is " + most + " MB");
    tell("sending " + name, false, true);
    page.sending = true;
    try {
      await page.ask("visits/" + page.token + "/video?name=" + encodeURIComponent(name), { body, headers: { "Content-Type": "application/octet-stream" } });
    } finally { page.sending = false; }
  }

  const first = () => page.read(async () => { const file = waiting.shift(); showWaiting(); await send(file, file.name); });

  page.open = attempt(async (given) => {
    const all = [...given], pictures = all.filter((file) => PICTURE.test(file.name)), others = all.filter((file) => !PICTURE.test(file.name) && !file.name.startsWith("."));
    if (pictures.length && (pictures.length > 1 || !others.length)) {
      const folder = (pictures[0].webkitRelativePath || "").split("/")[0], name = folder || (pictures.length > 1 ? pictures.length + " pictures" : pictures[0].name);
      tell("packing " + pictures.length + " pictures", false, true);
      const body = await zip(pictures);
      return page.read(() => send(body, name));
    }
    if (!others.length) throw new Error("there is no video and no picture in it; expected MP4, MOV, MKV, WebM, AVI, JPEG or PNG");
    waiting.splice(0, waiting.length, ...others);
    return first();
  });

  /** What was dropped: files, and files in folders. */
  async function dropped(items) {
    const found = [];
    async function enter(entry) {
      if (entry.isFile) found.push(await new Promise((done, fail) => entry.file(done, fail)));
      else if (entry.isDirectory) {
        const reader = entry.createReader();
        for (;;) {
          const some = await new Promise((done, fail) => reader.readEntries(done, fail));
          if (!some.length) break;
          for (const one of some) await enter(one);
        }
      }
    }
    for (const entry of [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean)) await enter(entry);
    return found;
  }

  for (const id of ["file", "file2", "folder"]) $(id).onchange = async () => { const chosen = [...$(id).files]; $(id).value = ""; if (chosen.length) await page.open(chosen); };
  page.root.addEventListener("dragover", (event) => event.preventDefault());
  page.root.addEventListener("drop", attempt(async (event) => { event.preventDefault(); await page.open(await dropped(event.dataTransfer.items)); }));
  $("next").onclick = first;
  $("example").onclick = () => page.read(() => page.mine("example"));
}
