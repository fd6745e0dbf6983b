/** Finds the place in the checked files to which a refusal of a view refers. */
import type { Refusal } from '../../channels/channel.ts';
import { DefinitionText, type Token } from '../../channels/sql/definition-text.ts';
import { placeIn, type SqlFile } from '../../channels/sql/sql-file.ts';
import { Unsupported } from '../../channels/sql/unsupported.ts';

/**
 * Returns the refusal's message, with `file:line:column` before it and the place in the file
 * underlined. If no file creates the view, the message is unchanged. The compiler knows the place
 * in the definition as Postgres prints it, fully cast and qualified, so the file is searched for
 * its words. If they are not found, the place is the view's name.
 */
export function placedMessage({ schema, pattern, error }: Refusal, files: readonly SqlFile[]): string {
  const made = files
    .flatMap((file) => file.statements.map((statement) => ({ file, statement })))
    .findLast(({ statement: { view } }) => view?.schema === schema && view.name === pattern);
  if (made === undefined) return error.message;
  const { sql, start } = made.statement;
  const tokens = new DefinitionText(withoutComments(sql)).tokens();
  const show = (shown: readonly Token[]) =>
    placeIn(made.file, start + (shown[0]?.start ?? 0), start + (shown.at(-1)?.end ?? 0));
  const body = tokens.findIndex(({ text }) => text === 'AS') + 1;
  const { message, cause } = error;
  if (cause instanceof Unsupported && cause.place !== undefined) {
    const found = placeOf(cause.place, tokens.slice(body));
    if (found.length > 0) {
      const { at, excerpt } = show(found);
      return `${at}: ${message.replace(cause.message, () => cause.reason)}\n\n${excerpt}`;
    }
  }
  const dot = tokens.findIndex(({ text }) => text === '.');
  const { at, excerpt } = show(tokens.slice(dot - 1, dot + 2));
  return `${at}: ${message}${message.includes('\n') ? '' : `\n\n${excerpt}`}`;
}

/** A constant, a name, another token, or a comment. */
const QUOTED_OR_COMMENT = /('(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\2\$)|--[^\n]*|\/\*.*?\*\//gs;

/** Replaces each comment with blanks, one for each byte. */
function withoutComments(sql: string): string {
  return sql.replace(QUOTED_OR_COMMENT, (text, quoted?: string) => quoted ?? ' '.repeat(Buffer.byteLength(text)));
}

/**
 * Returns the tokens that match the longest beginning of `place`, and the brackets that they open.
 */
function placeOf(place: string, tokens: readonly Token[]): readonly Token[] {
  const wanted = wordsOf(new DefinitionText(place).tokens());
  const words = wordsOf(tokens);
  let from = 0;
  let length = 0;
  for (let start = 0; start < words.length; start++) {
    let same = 0;
    while (isSame(wanted[same], words[start + same])) same++;
    if (same > length) [from, length] = [start, same];
  }
  const [first, last] = [words[from], words[from + length - 1]];
  if (first === undefined || last === undefined) return [];
  let end = last.at + (last.isCall ? 2 : 1);
  while (end < tokens.length && openIn(tokens.slice(first.at, end)) > 0) end++;
  return tokens.slice(first.at, end);
}

interface Word {
  readonly text: string;
  /** A bracket follows. */
  readonly isCall: boolean;
  /** Its index among the tokens. */
  readonly at: number;
}

/** Returns the words without brackets, and without the schemas and tables that qualify names. */
function wordsOf(tokens: readonly Token[]): readonly Word[] {
  return tokens.flatMap(({ text }, at) => {
    const next = tokens[at + 1]?.text;
    if (/^[().,;]$/.test(text) || next === '.') return [];
    return [{ text: text.replace(/^"(.*)"$/s, '$1'), isCall: next === '(', at }];
  });
}

function isSame(wanted: Word | undefined, word: Word | undefined): boolean {
  return wanted !== undefined && wanted.text === word?.text && (word.isCall || !wanted.isCall);
}

function openIn(tokens: readonly Token[]): number {
  return tokens.reduce((open, { text }) => open + (text === '(' ? 1 : text === ')' ? -1 : 0), 0);
}
