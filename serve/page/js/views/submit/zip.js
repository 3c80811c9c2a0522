// A zip of a few small files, stored as they are (PKWARE's APPNOTE, sections 4.3.7, 4.3.12, 4.3.16).

const VERSION = 20;
const UTF8 = 0x0800;
/** 1980-01-01: the same files always make the same zip, and so the same package. */
const DATE = 0x0021;

/**
 * A zip.
 *
 * @param {{name: string, content: Uint8Array}[]} entries
 * @returns {Uint8Array}
 */
export function zip(entries) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, content } of entries) {
    const encoded = new TextEncoder().encode(name);
    const common = fields([VERSION, 2], [UTF8, 2], [0, 2], [0, 2], [DATE, 2], [crc32(content), 4], [content.length, 4], [content.length, 4], [encoded.length, 2], [0, 2]);
    const header = [fields([0x04034b50, 4]), common, encoded, content];
    directory.push(fields([0x02014b50, 4], [VERSION, 2]), common, fields([0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), encoded);
    parts.push(...header);
    offset += size(header);
  }
  const end = fields([0x06054b50, 4], [0, 2], [0, 2], [entries.length, 2], [entries.length, 2], [size(directory), 4], [offset, 4], [0, 2]);
  return joined([...parts, ...directory, end]);
}

function fields(...values) {
  const bytes = new Uint8Array(values.reduce((sum, [, width]) => sum + width, 0));
  let place = 0;
  for (const [value, width] of values) {
    for (let index = 0; index < width; index += 1) bytes[place++] = (value >>> (8 * index)) & 0xff;
  }
  return bytes;
}

function size(parts) {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

function joined(parts) {
  const bytes = new Uint8Array(size(parts));
  let place = 0;
  for (const part of parts) {
    bytes.set(part, place);
    place += part.length;
  }
  return bytes;
}

function crc32(content) {
  let crc = 0xffffffff;
  for (const byte of content) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
