/** Reads an endless answer of one JSON value a line. */

/** Calls back with each line of the body. Resolves at its end. Rejects if the connection breaks. */
export async function readLines(body: ReadableStream<Uint8Array>, callback: (line: unknown) => void): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') callback(JSON.parse(line));
  }
}
