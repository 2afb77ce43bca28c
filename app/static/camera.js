// The camera on the page: what it shows, and that the video comes back when it is off.
import { camera } from "./live.js";

export function cameras(page) {
  const { $, root, state, view, tell, attempt } = page;

  page.toggleLive = attempt(async () => {
    if (page.live) { page.live.stop(""); return; }
    view.playing = false;
    const address = (location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/api/visits/" + page.token + "/live", late = [];
    page.live = await camera(address, $("address").value.trim(), (answer, bitmap) => {
      if (answer.error) { tell(answer.error, true); return; }
      if (bitmap) { view.image = bitmap; state.video = { count: 1, size: answer.size, fps: 1, live: true }; }
      state.results = new Map([[0, answer.objects]]);
      state.things = Object.fromEntries(Object.keys(answer.objects).map((id) => [id, state.things[id] || { name: "object " + id, visible: true }]));
      page.forgetMasks();
      if (answer.latency) late.push(answer.latency);
      if (late.length > 30) late.shift();
      const middle = [...late].sort((a, b) => a - b)[late.length >> 1];
      page.show({ work: {}, busy: false });
      $("work").textContent = "live: " + Math.round(middle || 0) + " ms late (median), " + answer.dropped + " dropped";
      root.dataset.live = answer.frame_idx;
    }, (why) => {
      page.live = null;
      $("live").textContent = "Camera";
      page.forget();
      $("work").textContent = "";
      tell(why || "the camera is off");
      attempt(page.refresh)().then(() => { root.querySelector(".vm-name").textContent = state.video.name || "no video"; page.thumbs(); return page.go(0); });
    });
    $("live").textContent = "Stop camera";
    page.forget();
    page.thumbs();
    root.querySelector(".vm-name").textContent = "camera";
    tell("Click on something.");
  });
}
