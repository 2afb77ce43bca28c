// The panel on the right: objects, what their memories hold, and the numbers of banks and searches.

const make = (kind, props) => Object.assign(document.createElement(kind), props);

/** The objects' lines. Left alone while somebody types a name, or when nothing has changed. */
export function list(place, page, does) {
  const { state, view } = page, { colors } = page.about, here = state.results.get(view.at) || {};
  const old = (id) => !state.video.live && !page.fresh(id, view.at);
  const key = JSON.stringify([state.things, view.chosen, Object.keys(state.things).map((id) => here[id] && [here[id].status, here[id].score, here[id].rival, old(id)])]);
  if (place.dataset.key === key || place.contains(document.activeElement)) return;
  place.dataset.key = key;
  place.replaceChildren(...Object.entries(state.things).map(([id, thing]) => {
    const item = make("li", { className: +id === view.chosen ? "on" : "" }), seen = here[id];
    item.dataset.obj = id;
    const name = make("input", { value: thing.name, title: "rename", ariaLabel: "name of object " + id });
    name.onchange = () => { name.blur(); does.rename(id, name.value); };
    const eye = make("button", { textContent: thing.visible ? "hide" : "show", title: "visible here and in exports" });
    eye.onclick = (event) => { event.stopPropagation(); eye.blur(); does.toggle(id); };
    const gone = make("button", { textContent: "\u2715", title: "delete", ariaLabel: "delete " + thing.name });
    gone.onclick = (event) => { event.stopPropagation(); gone.blur(); does.remove(+id); };
    item.onclick = (event) => event.target !== name && does.choose(+id);
    const rival = seen && seen.rival && state.things[seen.rival], status = !seen ? "" : seen.status === "tracking" ? Math.round(100 * seen.score) + "%" : seen.status;
    const small = make("small", { textContent: status, title: seen && old(id) ? "older than your last correction" : seen && seen.status === "tracking" ? "how sure it is" : "" });
    item.append(make("i", { style: "background: rgb(" + colors[(id - 1) % colors.length].join() + ")" }), name, small, eye, gone);
    if (rival) item.append(make("em", { textContent: "the same as " + rival.name + "?" }));
    return item;
  }));
}

/** What was said about the chosen object on this frame, each with a button that takes it back. */
export function said(place, page) {
  const { state, view } = page, chips = [];
  let edit = -1;
  for (const { frame_idx, obj_id, prompt } of state.prompts) {
    if (frame_idx !== view.at || obj_id !== view.chosen) continue;
    const at = (edit += 1), chip = (text, point) => {
      const button = make("button", { className: "vm-chip", textContent: text + " \u2715", title: "take this back" });
      button.onclick = () => page.unsay({ obj_id, edit: at, point });
      chips.push(button);
    };
    (prompt.points || []).forEach((_, k) => chip((prompt.labels || [])[k] === 0 ? "not here" : "click", k));
    if (prompt.box && !(prompt.points || []).length) chip("box", null);
    if (prompt.mask) chip("painted", null);
    if (prompt.text) chip("named " + prompt.text, null);
  }
  const key = JSON.stringify([view.at, view.chosen, chips.map((chip) => chip.textContent)]);
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  place.replaceChildren(...chips);
}

/** Thumbnails of what an object's bank holds; a blue edge: the next frame would read it. */
export function thumbnails(page, said, id) {
  const { $, state } = page, entries = said.objects[id] || [];
  $("memory-at").textContent = said.frame_idx === null || !entries.length ? "" : (state.things[id] ? state.things[id].name : "") + ", frame " + said.frame_idx;
  $("memory").replaceChildren(...entries.map((entry) => {
    const figure = make("figure", { className: entry.read ? "read" : "", title: entry.why + (entry.read ? "; read next" : "; not read next") });
    figure.append(Object.assign(new Image(), { src: page.frame(entry.frame_idx, true), alt: "frame " + entry.frame_idx }), entry.frame_idx + (entry.prompted ? " you" : ""));
    figure.onclick = () => page.go(entry.frame_idx, true);
    return figure;
  }));
}

/** A control for each number of the chosen policy, from its dataclass. kind: bank or search. */
export function controls($, policies, kind, changed) {
  const chosen = policies[kind][$(kind).value];
  $(kind + "-about").textContent = chosen.about;
  $(kind + "-numbers").replaceChildren(...chosen.fields.map((field) => {
    const label = Object.assign(document.createElement("label"), { textContent: field.label, title: field.name });
    const options = field.choices || (typeof field.value === "boolean" ? [true, false] : null);
    const input = document.createElement(options ? "select" : "input");
    if (options) input.append(...options.map((o) => new Option(o, o, o === field.value, o === field.value)));
    else Object.assign(input, { type: "number", step: "any", value: field.value ?? "", min: field.least ?? "", max: field.most ?? "" });
    input.dataset.name = field.name;
    input.oninput = changed; // not onchange, which would come with the click that needs it
    label.append(input);
    return label;
  }));
  const none = !chosen.fields.length;
  $(kind + "-numbers").parentElement.hidden = none;
}

/** What the controls say, by name. */
export function gather($, kind) {
  return Object.fromEntries([...$(kind + "-numbers").querySelectorAll("[data-name]")].map((input) => [input.dataset.name, input.value === "" ? "null" : input.value]));
}
