/** Colours SQL as it is typed. It helps readers and is not a parser. */
import { element } from './element.ts';

const KEYWORDS = new Set(
  `all alter and any as asc begin between by case cast commit conflict copy create cross default delete desc distinct do drop
   else end exists explain false from full function grant group having in index inner insert intersect into is isolation join
   left level like limit lock not nothing null offset on or order outer over partition primary references release returning
   revoke right rollback row rows savepoint select set table temp then to transaction true truncate union unique update using
   values view when where with`.split(/\s+/),
);

const TOKEN =
  /(?<comment>--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|(?<string>'(?:[^']|'')*(?:'|$))|(?<name>"[^"]*(?:"|$))|(?<word>[\p{L}_][\p{L}\p{N}_]*)|(?<number>\d+(?:\.\d+)?)/gu;

/**
 * The text in spans; `faultAt` (in UTF-16 units) is underlined, with the word that begins there.
 */
export function colour(sql: string, faultAt: number | undefined): (Node | string)[] {
  const parts: (Node | string)[] = [];
  const push = (text: string, kind: string, from: number) => {
    const faulty = faultAt !== undefined && faultAt >= from && faultAt < from + text.length;
    if (!faulty) {
      parts.push(kind === '' ? text : element('span', { class: kind }, text));
      return;
    }
    // In a gap between words only the one character is at fault.
    const [start, end] = kind === '' ? [faultAt - from, faultAt - from + 1] : [0, text.length];
    parts.push(
      text.slice(0, start),
      element('mark', kind === '' ? {} : { class: kind }, text.slice(start, end)),
      text.slice(end),
    );
  };
  let at = 0;
  for (const match of sql.matchAll(TOKEN)) {
    push(sql.slice(at, match.index), '', at);
    const [text] = match;
    const [kind = ''] = Object.entries(match.groups ?? {}).find(([, value]) => value !== undefined) ?? [];
    push(text, kind === 'word' ? (KEYWORDS.has(text.toLowerCase()) ? 'keyword' : 'word') : kind, match.index);
    at = match.index + text.length;
  }
  push(sql.slice(at), '', at);
  // A last empty line needs a character, and a fault may be at the very end.
  parts.push(faultAt !== undefined && faultAt >= sql.length ? element('mark', {}, ' ') : '', '\n');
  return parts;
}
