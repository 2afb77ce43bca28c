// The text field: chips of what was understood, and candidates that a click accepts.

const chip = (kind, text, title) => Object.assign(document.createElement("span"), { className: "vm-chip " + kind, textContent: text, title: title || "" });

/** The page's own state and ways; busy(): a camera is on. */
export function words($, { state, view, mine, attempt, paint, prompt, refresh, busy }) {
  let last = "";

  const ask = attempt((text) => {
    if (busy() || !state.video.count) throw new Error("open a video first; then name what to look for on the frame that is shown");
    view.playing = false;
    return mine("text", { frame_idx: view.at, text });
  });
  const offer = (box) => { view.offered = box; paint(); };
  const accept = attempt(async (box, name) => {
    view.chosen = null;
    await prompt({ box });
    if (view.chosen) await mine("objects/" + view.chosen, { name });
    await refresh();
  });

  function show(said) {
    $("chips").replaceChildren(...said.words.map(({ word, role, near }) => role
      ? chip(role === "small word" ? "small" : "known", word, role)
      : chip("unknown", word + (near.length ? " (" + near.join(", ") + "?)" : ""), "not known; say it with ImageNet's names and everyday words")));
    if (said.problem) $("chips").append(chip("unknown", said.problem));
    const understood = !said.problem && said.words.every(({ role }) => role);
    $("finds").replaceChildren(...said.finds.map(({ box, score, parts }) => {
      const why = Object.entries(parts).map(([name, value]) => name + " " + value.toFixed(2)).join(", ");
      const button = Object.assign(document.createElement("button"), { textContent: Math.round(100 * score) + " %  " + why, title: "this is it" });
      button.onmouseenter = button.onfocus = () => offer(box);
      button.onmouseleave = button.onblur = () => offer(null);
      button.onclick = () => { clear(); accept(box, last); };
      return button;
    }));
    if (understood && !said.finds.length) $("chips").append(chip("small", "nothing here looks like it"));
    if (said.finds.length) offer(said.finds[0].box);
  }

  function clear() {
    $("finds").replaceChildren();
    offer(null);
  }

  $("text").onkeydown = async (event) => {
    if (event.key !== "Enter") return;
    last = $("text").value;
    clear();
    const said = await ask(last);
    if (said) show(said);
  };
}
