// Talking to the server, and to the person: questions, answers, what goes wrong.

/** page.ask, page.mine (of this visit), page.tell (a line on the picture), page.attempt (errors become such a line). */
export function talk(page) {
  const { $ } = page;

  page.ask = async (path, options = {}) => {
    const answer = await fetch("/api/" + path, { method: "POST", ...options });
    const said = await answer.json().catch(() => ({ error: "the server does not answer (" + answer.status + ")" }));
    if (!answer.ok) throw Object.assign(new Error(said.error || "the server refused (" + answer.status + ")"), { status: answer.status });
    return said;
  };
  page.get = (path) => page.ask(path, { method: "GET" });
  page.mine = (path, said) =>
    page.ask("visits/" + page.token + "/" + path, said === undefined ? {} : { body: JSON.stringify(said), headers: { "Content-Type": "application/json" } });

  let timer;
  page.tell = (text, bad = false, stay = false) => {
    const box = $("message");
    box.textContent = text;
    box.classList.toggle("on", !!text);
    box.classList.toggle("bad", bad);
    clearTimeout(timer);
    if (text && !stay) timer = setTimeout(() => box.classList.remove("on"), bad ? 9000 : 4000);
  };
  page.attempt = (work) => async (...given) => { try { return await work(...given); } catch (error) { page.tell(error.message, true); } };

  page.frame = (i, small = false) => "/api/visits/" + page.token + "/frames/" + i + ".jpg?v=" + page.view.stamp + (small ? "&small=true" : "");
}
