/** Parses SQL with Postgres's own grammar (libpg-query). */
import { hasSqlDetails, loadModule, type Node, parseSync } from 'libpg-query';
import { assert } from '../../errors.ts';
import { underline } from './underline.ts';
import { Unsupported } from './unsupported.ts';

let isLoaded = false;

/** Loads the grammar (WebAssembly). Must be awaited once before any view is compiled. */
export async function loadParser(): Promise<void> {
  await loadModule();
  isLoaded = true;
}

/** Asserts that `loadParser()` was awaited, as every compiler requires. */
export function assertParserLoaded(): void {
  assert(isLoaded, 'loadParser() has not been awaited');
}

/**
 * The statements of a SQL text. Throws Unsupported if the grammar cannot parse it. The grammar is
 * Postgres 18's, and a newer Postgres may print SQL that it does not know.
 */
export function parseSql(sql: string): readonly Node[] {
  assertParserLoaded();
  try {
    return (parseSync(sql).stmts ?? []).flatMap(({ stmt }) => stmt ?? []);
  } catch (error) {
    const reason = `Snö reads the SQL of Postgres 18 and cannot read this (${(error as Error).message}): write it in the syntax of Postgres 18`;
    const at = hasSqlDetails(error) ? (error.sqlDetails?.cursorPosition ?? -1) : -1;
    if (at < 0) throw new Unsupported(reason);
    // the position counts characters, not bytes
    const before = [...sql].slice(0, at).join('');
    const [word = ''] = /^(\w+|\S?)/.exec(sql.slice(before.length)) ?? [];
    const start = Buffer.byteLength(before);
    const underlined = underline(Buffer.from(sql), start, start + Buffer.byteLength(word));
    throw new Unsupported(reason, { text: word, underlined });
  }
}
