// Pictures in one file: a zip that packs nothing, for JPEG and PNG are packed already.

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}

/** Files -> a Blob. Fields as in PKWARE's APPNOTE, 4.3.7 and 4.3.12; names are UTF-8. */
export async function zip(files) {
  const parts = [], list = [];
  let at = 0;
  for (const file of files) {
    const bytes = new Uint8Array(await file.arrayBuffer()), name = new TextEncoder().encode(file.webkitRelativePath || file.name);
    const field = new DataView(new ArrayBuffer(26));
    field.setUint16(0, 20, true);
    field.setUint16(2, 0x0800, true); // UTF-8
    field.setUint32(10, crc32(bytes), true);
    field.setUint32(14, bytes.length, true);
    field.setUint32(18, bytes.length, true);
    field.setUint16(22, name.length, true);
    parts.push(Uint8Array.of(0x50, 0x4b, 3, 4), field.buffer, name, bytes);
    const where = new DataView(new ArrayBuffer(14));
    where.setUint32(10, at, true);
    list.push(Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0), field.buffer, where.buffer, name);
    at += 30 + name.length + bytes.length;
  }
  const size = list.reduce((sum, part) => sum + (part.byteLength ?? part.length), 0), end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, files.length, true);
  end.setUint16(10, files.length, true);
  end.setUint32(12, size, true);
  end.setUint32(16, at, true);
  return new Blob([...parts, ...list, end.buffer]);
}
