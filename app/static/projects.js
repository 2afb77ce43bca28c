// Nothing is lost: this visit is found again after a reload, and what was worked on before is offered.

const HERE = "vidmem.visit", OPEN = "vidmem.visits", MOST = 12;
const stored = (place, key) => { try { return JSON.parse(place.getItem(key)); } catch { return null; } };
const store = (place, key, value) => { try { place.setItem(key, JSON.stringify(value)); } catch { /* a browser that keeps nothing */ } };

function ago(seconds) {
  const minutes = Math.round(seconds / 60), hours = Math.round(minutes / 60);
  return minutes < 1 ? "just now" : minutes < 60 ? minutes + " min ago" : hours < 48 ? hours + " h ago" : Math.round(hours / 24) + " days ago";
}

export function projects(page) {
  const { $, state, view, attempt } = page;

  /** This visit, for a reload and for a tab that is opened later. */
  page.remember = () => {
    store(sessionStorage, HERE, { token: page.token, at: view.at });
    if (!state.video.count || state.video.live) return;
    const others = (stored(localStorage, OPEN) || []).filter((one) => one.token !== page.token);
    store(localStorage, OPEN, [{ token: page.token, name: state.video.name, when: Date.now() }, ...others].slice(0, MOST));
  };

  const alive = (token) => page.get("visits/" + token + "/state?since=" + Number.MAX_SAFE_INTEGER).catch(() => null);

  /** The visit of this tab before it was loaded again, or a new one -> the frame that was shown, or null. */
  page.arrive = async () => {
    const before = stored(sessionStorage, HERE);
    if (before && /^[\w-]{10,80}$/.test(before.token) && (await alive(before.token))) {
      page.token = before.token;
      return before.at || 0;
    }
    page.token = (await page.ask("visits")).token;
    store(sessionStorage, HERE, { token: page.token, at: 0 });
    return null;
  };

  async function join(token) {
    const mine = page.token;
    page.token = token;
    page.root.dataset.token = token;
    navigator.sendBeacon("/api/visits/" + mine + "/away");
    await page.shown();
  }

  const make = (kind, props) => Object.assign(document.createElement(kind), props);

  function card(picture, name, about, open, gone) {
    const box = make("div", { className: "vm-card" }), go = make("button", { title: "go on with " + name });
    if (picture) go.append(make("img", { src: picture, alt: "" }));
    go.append(make("b", { textContent: name }), make("small", { textContent: about }));
    go.onclick = () => { $("shelf").close(); open(); };
    box.append(go);
    if (gone) box.append(Object.assign(make("button", { textContent: "Delete", title: "delete this project" }), { onclick: gone }));
    return box;
  }

  /** Cards of what one can go on with: projects that the server keeps, and visits whose tab was closed. */
  async function cards(deleting) {
    const found = [], now = Date.now() / 1000, kept = (await page.get("projects")).projects;
    for (const one of kept) {
      const about = one.objects + (one.objects === 1 ? " object, " : " objects, ") + one.count + " frames, " + ago(now - one.saved);
      found.push(card("/api/projects/" + one.id + ".jpg", one.name, about, () => page.read(() => page.mine("projects/" + one.id)), deleting && attempt(async () => {
        if (!confirm("Delete " + one.name + " with everything that was tracked in it?")) return;
        await page.ask("projects/" + one.id + "/delete");
        await page.list();
      })));
    }
    for (const one of (stored(localStorage, OPEN) || []).filter((visit) => visit.token !== page.token)) {
      const there = await alive(one.token);
      if (there && there.video && there.video.count && !kept.some((k) => k.id === there.kept.id)) {
        found.push(card(null, one.name, "from a tab that was closed, " + ago(now - one.when / 1000), attempt(() => join(one.token))));
      } else if (!there) {
        store(localStorage, OPEN, (stored(localStorage, OPEN) || []).filter((visit) => visit.token !== one.token));
      }
    }
    return found;
  }

  page.list = attempt(async () => {
    const found = await cards(true);
    $("kept-list").replaceChildren(...found);
    $("shelf-about").textContent = !page.about.keeps ? "This server keeps no projects: export a project to go on with it another day."
      : found.length ? "Your work is kept on this machine while you do it." : "Nothing yet. What you click and track is kept here by itself.";
  });

  page.offer = attempt(async () => $("recent").replaceChildren(...(await cards(false)).slice(0, 4)));

  $("projects").onclick = async () => { await page.list(); $("shelf").showModal(); };

  page.askKept = () => page.get("visits/" + page.token + "/state?since=" + Number.MAX_SAFE_INTEGER)
    .then((said) => { page.kept = said.kept; page.showKept(); }).catch(() => {});

  /** The server writes every two seconds; while something is due, it is asked whether that has happened. */
  let again = null;
  page.showKept = () => {
    const { kept } = page;
    const due = !!(kept && kept.due && (page.about || {}).keeps);
    $("kept").textContent = !kept ? "" : kept.error ? "not kept: " + kept.error : due ? "keeping …" : kept.at ? "kept" : "";
    clearTimeout(again);
    if (due && !page.busy) again = setTimeout(page.askKept, 1500);
    $("kept").classList.toggle("bad", !!(kept && kept.error));
  };

  /** Leaving asks where it would cost something: a file that is being sent, work that goes on, or work that is kept nowhere. */
  const costs = () => page.sending || page.busy || (state.prompts.length && !state.video.live && (!page.about.keeps || (page.kept && page.kept.error)));
  window.addEventListener("beforeunload", (event) => { if (costs()) { event.preventDefault(); event.returnValue = ""; } });
  window.addEventListener("pagehide", () => { page.remember(); navigator.sendBeacon("/api/visits/" + page.token + "/away"); });
}
