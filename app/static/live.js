// The camera: newest frame up, masks down. One frame is on its way at a time, so nothing queues up.

const WIDTH = 640;

/** Opens the camera and the socket. address: of a network camera, which the server reads; empty: this computer's.
 *  heard(answer, bitmap): masks, and the picture they belong to. -> {say, stop} */
export async function camera(url, address, heard, ended) {
  return address ? remote(url, address, heard, ended) : local(url, heard, ended);
}

async function remote(url, address, heard, ended) {
  const socket = new WebSocket(url);
  let picture = null, running = true, last = Promise.resolve();
  socket.binaryType = "blob";
  function stop(why) {
    if (!running) return;
    running = false;
    socket.close();
    ended(why);
  }
  socket.onopen = () => socket.send(JSON.stringify({ url: address }));
  socket.onclose = () => stop("the connection closed");
  socket.onmessage = (event) => {
    // In order, though pictures take a moment to decode.
    last = last.then(async () => {
      if (event.data instanceof Blob) { picture = await createImageBitmap(event.data); return; }
      const answer = JSON.parse(event.data);
      if (running) heard(answer, answer.clock === null ? null : picture);
      if (answer.error && !picture) stop(answer.error);
    });
  };
  return { say: (said) => socket.send(JSON.stringify(said)), stop };
}

async function local(url, heard, ended) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: WIDTH } }, audio: false });
  const video = Object.assign(document.createElement("video"), { srcObject: stream, muted: true, playsInline: true });
  await video.play();
  const grab = document.createElement("canvas"), scale = Math.min(1, WIDTH / video.videoWidth);
  grab.width = Math.round(video.videoWidth * scale);
  grab.height = Math.round(video.videoHeight * scale);
  const pen = grab.getContext("2d"), socket = new WebSocket(url);
  let sent = null, running = true;

  async function send() {
    if (!running || socket.readyState !== 1) return;
    pen.drawImage(video, 0, 0, grab.width, grab.height);
    const clock = performance.now(), [blob, bitmap] = await Promise.all([new Promise((done) => grab.toBlob(done, "image/jpeg", 0.8)), createImageBitmap(grab)]);
    const data = new Uint8Array(8 + blob.size);
    new DataView(data.buffer).setFloat64(0, clock, true);
    data.set(new Uint8Array(await blob.arrayBuffer()), 8);
    sent = { clock, bitmap };
    if (running) socket.send(data);
  }

  function stop(why) {
    if (!running) return;
    running = false;
    stream.getTracks().forEach((track) => track.stop());
    socket.close();
    ended(why);
  }

  socket.onopen = send;
  socket.onclose = () => stop("the connection closed");
  socket.onmessage = (event) => {
    const answer = JSON.parse(event.data);
    if (answer.clock === null) { heard(answer, null); return; } // to a prompt
    answer.latency = performance.now() - answer.clock;
    heard(answer, sent && sent.clock === answer.clock ? sent.bitmap : null);
    setTimeout(send, 0); // not requestAnimationFrame, which rests while the tab is hidden
  };
  return { say: (said) => socket.send(JSON.stringify(said)), stop };
}
