/**
 * The line of `sql` that holds the bytes `[start, end)`, and a line below it with carets under
 * them:
 *
 *     WHERE (lower(title) = 'x'::text);
 *            ^^^^^^^^^^^^
 *
 * Offsets are in bytes, as the parser gives them; a range over several lines is underlined to the
 * end of its first.
 */
export function underline(sql: Buffer, start: number, end: number): string {
  const lineStart = start === 0 ? 0 : sql.lastIndexOf(0x0a, start - 1) + 1;
  const newline = sql.indexOf(0x0a, start);
  const lineEnd = newline === -1 ? sql.length : newline;
  const text = sql.toString('utf8', lineStart, lineEnd);
  const before = sql.toString('utf8', lineStart, start);
  const marked = sql.toString('utf8', start, Math.max(start, Math.min(end, lineEnd)));
  const indent = Math.min(text.length - text.trimStart().length, before.length);
  const blank = before.slice(indent).replace(/[^\t]/gu, ' ');
  return `  ${text.slice(indent).trimEnd()}\n  ${blank}${'^'.repeat(Math.max(1, [...marked.trimEnd()].length))}`;
}
