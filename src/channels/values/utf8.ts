/** Counts and finds characters in UTF-8, without creating strings. */

/** Whether the byte continues a character that began before it. */
function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

export function countCharacters(buffer: Buffer, start: number, end: number): number {
  let count = 0;
  for (let at = start; at < end; at++) if (!isContinuation(buffer[at] as number)) count++;
  return count;
}

/** The start of the character after the one at `at`. */
export function nextCharacter(buffer: Buffer, at: number, end: number): number {
  let next = at + 1;
  while (next < end && isContinuation(buffer[next] as number)) next++;
  return next;
}

/** The start of the character before `at`. */
export function previousCharacter(buffer: Buffer, at: number, start: number): number {
  let previous = at - 1;
  while (previous > start && isContinuation(buffer[previous] as number)) previous--;
  return previous;
}

/** The start of the character with this number, counted from 0; `end` if there are fewer. */
export function characterAt(buffer: Buffer, start: number, end: number, count: number): number {
  // each character has at least one byte
  if (count >= end - start) return end;
  let at = start;
  for (let index = 0; index < count && at < end; index++) at = nextCharacter(buffer, at, end);
  return at;
}

/** The start of `part[partStart, partEnd)` in the text at or after `from`; -1 if it is missing. */
export function find(
  buffer: Buffer,
  from: number,
  end: number,
  part: Buffer,
  partStart: number,
  partEnd: number,
): number {
  const last = end - (partEnd - partStart);
  const first = part[partStart];
  for (let at = from; at <= last; at++) {
    if (buffer[at] !== first) continue;
    let index = 1;
    while (partStart + index < partEnd && buffer[at + index] === part[partStart + index]) index++;
    if (partStart + index >= partEnd) return at;
  }
  return -1;
}
