// Masks and marks as pixels. Nothing here knows the server.

/** COCO's compressed RLE -> Uint8Array of H*W, row by row. Runs go down the columns. */
export function decode(rle) {
  const [height, width] = rle.size, runs = [], text = rle.counts;
  for (let at = 0; at < text.length; ) {
    let x = 0, shift = 0, more = true;
    while (more) {
      const byte = text.charCodeAt(at++) - 48;
      x |= (byte & 31) << shift;
      shift += 5;
      more = (byte & 32) !== 0;
      if (!more && byte & 16) x |= -1 << shift;
    }
    runs.push(runs.length > 2 ? x + runs[runs.length - 2] : x);
  }
  const mask = new Uint8Array(height * width);
  let at = 0;
  runs.forEach((run, i) => {
    if (i % 2) for (let k = at; k < at + run; k++) mask[(k % height) * width + Math.floor(k / height)] = 1;
    at += run;
  });
  return mask;
}

/** Uint8Array of H*W, row by row -> COCO's RLE. */
export function encode(mask, height, width) {
  const runs = [];
  let value = 0, run = 0;
  for (let k = 0; k < mask.length; k++) {
    const here = mask[(k % height) * width + Math.floor(k / height)] ? 1 : 0;
    if (here !== value) { runs.push(run); run = 0; value = here; }
    run++;
  }
  runs.push(run);
  let text = "";
  runs.forEach((now, i) => {
    let x = i > 2 ? now - runs[i - 2] : now, more = true;
    while (more) {
      const bits = x & 31;
      x >>= 5;
      more = bits & 16 ? x !== -1 : x !== 0;
      text += String.fromCharCode((more ? bits | 32 : bits) + 48);
    }
  });
  return { size: [height, width], counts: text };
}

/** A canvas with an object's mask in its colour, and a firm edge. */
export function tinted(rle, [r, g, b]) {
  const [height, width] = rle.size, mask = decode(rle), image = new ImageData(width, height), pixels = image.data;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!mask[i]) continue;
      const edge = x === 0 || y === 0 || x === width - 1 || y === height - 1 || !mask[i - 1] || !mask[i + 1] || !mask[i - width] || !mask[i + width];
      pixels.set([r, g, b, edge ? 255 : 120], 4 * i);
    }
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Clicks as green and red dots, boxes dashed. over: the dot under the pointer, which a click would take back. */
export function marks(pen, prompts, scale, over) {
  pen.lineWidth = 1.5 / scale;
  pen.strokeStyle = "#fff";
  for (const { prompt } of prompts) {
    (prompt.points || []).forEach(([x, y], i) => {
      pen.beginPath();
      pen.arc(x, y, 5 / scale, 0, 7);
      pen.fillStyle = (prompt.labels || [])[i] === 0 ? "#e0322b" : "#21b35a";
      pen.fill();
      pen.stroke();
      if (over && over[0] === x && over[1] === y) {
        pen.beginPath();
        for (const turn of [1, -1]) { pen.moveTo(x - 3 / scale, y - (turn * 3) / scale); pen.lineTo(x + 3 / scale, y + (turn * 3) / scale); }
        pen.arc(x, y, 9 / scale, 0, 7);
        pen.stroke();
      }
    });
    if (prompt.box) {
      const [x0, y0, x1, y1] = prompt.box;
      pen.setLineDash([6 / scale, 4 / scale]);
      pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
      pen.setLineDash([]);
    }
  }
}

/** A word's map: levels of 0 to 255 in base64, row by row -> a small canvas, a veil over all where the word is not seen. */
export function veiled({ size: [height, width], levels }) {
  const image = new ImageData(width, height), text = atob(levels);
  for (let i = 0; i < height * width; i++) image.data[4 * i + 3] = 0.8 * (255 - text.charCodeAt(i));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Candidates as boxes with their numbers; the one that is offered stands out. */
export function boxes(pen, candidates, offered, scale) {
  candidates.forEach((find, i) => {
    const [x0, y0, x1, y1] = find.box, on = find === offered, size = 13 / scale;
    pen.lineWidth = (on ? 3 : 1.5) / scale;
    pen.strokeStyle = on ? "#ffb02e" : "#fff";
    pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
    pen.fillStyle = "rgba(0, 0, 0, .6)";
    pen.fillRect(x0, y0, 1.5 * size, 1.4 * size);
    pen.fillStyle = pen.strokeStyle;
    pen.font = "bold " + size + "px sans-serif";
    pen.fillText(i + 1, x0 + 0.4 * size, y0 + 1.1 * size);
  });
}
