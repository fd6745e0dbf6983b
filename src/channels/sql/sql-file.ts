/** Reads a SQL file that runs in one transaction with others. Also shows places in such a file. */
import { isUtf8 } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { SnoError } from '../../errors.ts';
import { parseStatements, type Statement } from './statements.ts';
import { underline } from './underline.ts';

export interface SqlFile {
  /** The file's name in messages. */
  readonly name: string;
  readonly content: Buffer;
  readonly statements: readonly Statement[];
}

const BYTE_ORDER_MARK = Buffer.from('\u{feff}');
const BACKSLASH = 0x5c;

/**
 * Reads and splits a file. A `rules_failed` error names the place of invalid SQL, or of a statement
 * that would end the transaction.
 */
export async function readSqlFile(path: string, name: string): Promise<SqlFile> {
  const bytes = await readFile(path);
  // as psql does
  const content = bytes.subarray(0, 3).equals(BYTE_ORDER_MARK) ? bytes.subarray(3) : bytes;
  if (!isUtf8(content)) throw new SnoError('rules_failed', `${name} is not UTF-8`, { hint: 'Save the file as UTF-8.' });
  const parsed = await parseStatements(content);
  if ('message' in parsed) {
    const { at, message } = parsed;
    throw failureAt(
      { name, content },
      at,
      content[at] === BACKSLASH ? `${message}: psql commands are not SQL` : message,
    );
  }
  const statements = withoutPair(parsed.statements);
  const [first, second] = statements.filter(({ transaction }) => transaction !== undefined);
  // a BEGIN before all other statements is valid by itself, so the next one is at fault
  const transaction = first === statements[0] && first?.transaction === 'begin' ? (second ?? first) : first;
  if (transaction !== undefined) {
    const why = transaction.transaction === 'rollback' ? ROLLED_BACK : MORE_THAN_A_PAIR;
    throw failureAt(
      { name, content },
      transaction.start,
      `Snö applies all files in one transaction, so no file may begin or end one: ${why}`,
    );
  }
  return { name, content, statements };
}

const ROLLED_BACK = 'this would undo the file. Remove it and its BEGIN';
const MORE_THAN_A_PAIR =
  'Snö ignores only one BEGIN before everything and one COMMIT after everything. Remove the others, or make a file of each transaction';

/** Drops the BEGIN and COMMIT around all statements except settings, if there is no other pair. */
function withoutPair(statements: readonly Statement[]): readonly Statement[] {
  const [begin, commit, ...others] = statements.filter(({ transaction }) => transaction !== undefined);
  if (begin?.transaction !== 'begin' || commit?.transaction !== 'commit' || others.length > 0) return statements;
  const [from, to] = [statements.indexOf(begin), statements.indexOf(commit)];
  const isAround = statements.every(({ isSetting }, index) => (index >= from && index <= to) || isSetting);
  return isAround ? statements.filter((statement) => statement !== begin && statement !== commit) : statements;
}

type Content = Pick<SqlFile, 'name' | 'content'>;

/**
 * `tasks.sql:3:15` (line and column in characters, from 1), and that line with `[start, end)`, in
 * bytes, underlined.
 */
export function placeIn({ name, content }: Content, start: number, end: number): { at: string; excerpt: string } {
  const before = content.toString('utf8', 0, start).split('\n');
  const column = [...(before.at(-1) ?? '')].length + 1;
  return { at: `${name}:${before.length}:${column}`, excerpt: underline(content, start, end) };
}

/** An error at the word that begins at byte `at`. */
export function failureAt(file: Content, at: number, message: string, cause?: unknown): SnoError {
  const word = /^[\w"]+/.exec(file.content.toString('utf8', at, at + 64))?.[0].length ?? 1;
  const place = placeIn(file, at, at + word);
  return new SnoError('rules_failed', `${place.at}: ${message}\n${place.excerpt}`, { cause });
}
