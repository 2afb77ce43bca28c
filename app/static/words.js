// The text field: chips of what was understood and where it is seen, and candidates that a click accepts.
import { veiled } from "./draw.js";

export function words(page) {
  const { $, state, view, mine, attempt } = page;
  let asked = 0; // the question that is the newest: what an older one answers is shown no more

  const ask = attempt((text, frame_idx) => {
    if (page.live || !state.video.count) throw new Error("open a video first; then name what to look for on the frame that is shown");
    view.playing = false;
    return mine("text", { frame_idx, text });
  });

  /** A candidate, or a word's heat map, on the picture; null: none. */
  const point = (offered) => { view.offered = offered; page.paint(); };
  const warm = (heat) => { view.heat = heat; page.paint(); };

  /** A new object from what was offered on the frame that was looked at, named as the text names it. */
  page.accept = attempt(async (prompt, name) => {
    withdraw();
    view.chosen = null;
    await page.prompt(prompt);
    if (!view.chosen) return;
    await mine("objects/" + view.chosen, { name });
    await page.refresh();
  });

  function chip(kind, text, title, heat) {
    const made = Object.assign(document.createElement("span"), { className: "vm-chip " + kind, textContent: text, title: title || "" });
    if (!heat) return made;
    const map = veiled(heat);
    Object.assign(made, { tabIndex: 0, onmouseenter: () => warm(map), onfocus: () => warm(map), onmouseleave: () => warm(null), onblur: () => warm(null) });
    made.classList.add("warm");
    return made;
  }

  function show(said, text) {
    $("chips").replaceChildren(...said.words.map(({ word, role, near, heat }) => role
      ? chip(role === "small word" ? "small" : "known", word, heat ? role + ": where it is seen" : role, heat)
      : chip("unknown", word + (near.length ? " (" + near.join(", ") + "?)" : ""), "not known; say it with ImageNet's names and everyday words")));
    if (said.problem) $("chips").append(chip("unknown", said.problem));
    const understood = !said.problem && said.words.every(({ role }) => role);
    view.candidates = said.finds.map((find) => ({ ...find, frame_idx: view.at, name: text }));
    $("finds").replaceChildren(...view.candidates.map((find, i) => {
      const button = Object.assign(document.createElement("button"), { title: "this is it" });
      button.append(Object.assign(document.createElement("b"), { textContent: i + 1 }), Math.round(100 * find.score) + " %");
      for (const [name, share] of Object.entries(find.parts)) button.append(part(name, share));
      button.onmouseenter = button.onfocus = () => point(find);
      button.onmouseleave = button.onblur = () => point(null);
      button.onclick = () => page.accept({ box: find.box }, text);
      return button;
    }));
    if (understood && !said.finds.length && !said.prompt) $("chips").append(chip("small", "nothing here looks like it"));
    page.paint();
  }

  /** Why: one part of a score, and how much of it there is. */
  function part(name, share) {
    const made = Object.assign(document.createElement("span"), { className: "vm-part", title: name + " " + share.toFixed(2) });
    made.append(name, Object.assign(document.createElement("i"), { style: "width: " + Math.round(24 * share) + "px" }));
    return made;
  }

  function withdraw() {
    view.candidates = [];
    view.offered = view.heat = null;
    $("finds").replaceChildren();
    page.paint();
  }
  function clear() {
    $("chips").replaceChildren();
    withdraw();
  }
  page.noCandidates = () => { if (view.candidates.length || $("chips").childElementCount) clear(); };

  $("text").onkeydown = async (event) => {
    if (event.key === "Escape") clear();
    if (event.key !== "Enter") return;
    const text = $("text").value, mine = (asked += 1), at = view.at;
    clear();
    const said = await ask(text, at);
    if (!said || mine !== asked || view.at !== at) return;
    show(said, text);
    if (said.prompt) await page.accept({ text: said.prompt }, said.prompt);
  };
}
