// The panel on the right: objects, what their memories hold, and the numbers of banks and searches.

/** The objects' lines. Left alone while somebody types a name, or when nothing has changed. */
export function list(place, { state, view, colors }, does) {
  const here = state.results.get(view.at) || {};
  const key = JSON.stringify([state.things, view.chosen, Object.keys(state.things).map((id) => here[id] && [here[id].status, here[id].score])]);
  if (place.dataset.key === key || place.contains(document.activeElement)) return;
  place.dataset.key = key;
  const make = (kind, props) => Object.assign(document.createElement(kind), props);
  place.replaceChildren(...Object.entries(state.things).map(([id, thing]) => {
    const item = make("li", { className: +id === view.chosen ? "on" : "" }), seen = here[id];
    item.dataset.obj = id;
    const name = make("input", { value: thing.name, title: "rename", ariaLabel: "name of object " + id });
    name.onchange = () => { name.blur(); does.rename(id, name.value); };
    const eye = make("button", { textContent: thing.visible ? "hide" : "show", title: "visible here and in exports" });
    eye.onclick = (event) => { event.stopPropagation(); eye.blur(); does.toggle(id); };
    const gone = make("button", { textContent: "\u2715", title: "delete" });
    gone.onclick = (event) => { event.stopPropagation(); gone.blur(); does.remove(+id); };
    item.onclick = (event) => event.target !== name && does.choose(+id);
    item.append(
      make("i", { style: "background: rgb(" + colors[(id - 1) % colors.length].join() + ")" }), name,
      make("small", { textContent: seen ? (seen.status === "tracking" ? Math.round(100 * seen.score) + "%" : seen.status) : "" }), eye, gone,
    );
    return item;
  }));
}

/** Thumbnails of what an object's bank holds; a blue edge: the next frame would read it. */
export function thumbnails($, said, id, address, go) {
  $("memory-at").textContent = said.frame_idx === null ? "" : "at frame " + said.frame_idx;
  $("memory").replaceChildren(...(said.objects[id] || []).map((entry) => {
    const figure = Object.assign(document.createElement("figure"), { className: entry.read ? "read" : "", title: entry.why + (entry.read ? "; read next" : "; not read next") });
    figure.append(Object.assign(new Image(), { src: address(entry.frame_idx) }), entry.frame_idx + (entry.prompted ? " *" : ""));
    figure.onclick = () => go(entry.frame_idx);
    return figure;
  }));
}

/** A control for each number of the chosen policy, from its dataclass. kind: bank or search. */
export function controls($, policies, kind, changed) {
  const chosen = policies[kind][$(kind).value];
  $(kind + "-about").textContent = chosen.about;
  $(kind + "-numbers").replaceChildren(...chosen.fields.map((field) => {
    const label = Object.assign(document.createElement("label"), { textContent: field.name });
    const options = field.choices || (typeof field.value === "boolean" ? [true, false] : null);
    const input = document.createElement(options ? "select" : "input");
    if (options) input.append(...options.map((o) => new Option(o, o, o === field.value, o === field.value)));
    else Object.assign(input, { type: "number", step: "any", value: field.value ?? "", min: field.least ?? "", max: field.most ?? "" });
    input.dataset.name = field.name;
    input.oninput = changed; // not onchange, which would come with the click that needs it
    label.append(input);
    return label;
  }));
}

/** What the controls say, by name. */
export function gather($, kind) {
  return Object.fromEntries([...$(kind + "-numbers").querySelectorAll("[data-name]")].map((input) => [input.dataset.name, input.value === "" ? "null" : input.value]));
}
