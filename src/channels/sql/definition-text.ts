/** Finds tokens and the places of parse nodes in the text of a view's definition. */
import { scanSync } from 'libpg-query';
import { assert } from '../../errors.ts';
import { underline } from './underline.ts';
import { Unsupported } from './unsupported.ts';

/** Byte offsets in a definition. */
export interface Extent {
  readonly start: number;
  readonly end: number;
}

export interface Token extends Extent {
  readonly text: string;
  /**
   * Number of brackets that are open around the token. An opening bracket counts as inside itself.
   */
  readonly depth: number;
}

/**
 * Characters that the scanner leaves unescaped in its JSON. Outside constants they are white space.
 */
const CONTROL = /[^ -\u{10ffff}]/gu;

export class DefinitionText {
  readonly #bytes: Buffer;
  readonly #tokens: readonly Token[];

  constructor(definition: string) {
    this.#bytes = Buffer.from(definition);
    let depth = 0;
    this.#tokens = scanSync(definition.replace(CONTROL, ' ')).tokens.map(({ start, end }) => {
      const text = this.slice(start, end);
      if (isOpening(text)) depth++;
      const token = { start, end, text: text.toUpperCase(), depth };
      if (isClosing(text)) depth--;
      return token;
    });
  }

  slice(start: number, end: number): string {
    return this.#bytes.toString('utf8', start, end).trim();
  }

  /**
   * The text of an extent, with replacements for some of its column references. The keys of
   * `references` are their start offsets.
   */
  rewritten({ start, end }: Extent, references: ReadonlyMap<number, string>): string {
    let text = '';
    let from = start;
    for (const [at, replacement] of [...references].sort(([a], [b]) => a - b)) {
      if (at < start || at >= end) continue;
      text += `${this.#bytes.toString('utf8', from, at)}${replacement}`;
      let last = this.#tokens.findIndex((token) => token.start === at);
      while (this.#tokens[last + 1]?.text === '.') last += 2;
      from = (this.#tokens[last] as Token).end;
    }
    return `${text}${this.#bytes.toString('utf8', from, end)}`.trim();
  }

  /** The text of an extent, with replacements for extents within it. */
  replaced({ start, end }: Extent, replacements: readonly (Extent & { readonly by: string })[]): string {
    let text = '';
    let from = start;
    for (const each of [...replacements].sort((a, b) => a.start - b.start)) {
      if (each.start < start || each.end > end) continue;
      text += `${this.#bytes.toString('utf8', from, each.start)}${each.by}`;
      from = each.end;
    }
    return `${text}${this.#bytes.toString('utf8', from, end)}`.trim();
  }

  /** The extent of the brackets around the token at an offset, including the brackets. */
  bracketed(offset: number): Extent {
    const tokens = this.#tokens;
    const at = tokens.findIndex(({ start }) => start === offset);
    const depth = tokens[at]?.depth ?? 0;
    const opening = tokens.findLast((token, index) => index < at && token.depth === depth && isOpening(token.text));
    const closing = tokens.find((token, index) => index > at && token.depth === depth && isClosing(token.text));
    assert(opening !== undefined && closing !== undefined, 'a subquery without brackets around it');
    return { start: opening.start, end: closing.end };
  }

  /** An error that underlines the node in its line. */
  refuse(reason: string, node: object, hint?: string): Unsupported {
    const { first, last } = extentOf(node);
    const tokens = this.#balanced(first, last);
    return this.#refuseTokens(reason, tokens, hint);
  }

  /** An error that underlines the first of these keywords, if possible outside all brackets. */
  refuseClause(reason: string, keywords: readonly string[], hint?: string): Unsupported {
    const opening = this.#tokens.filter(({ text }) => keywords.includes(text));
    const token = opening.find(({ depth }) => depth === 0) ?? opening[0];
    return this.#refuseTokens(reason, token === undefined ? this.#tokens.slice(0, 1) : [token], hint);
  }

  /** The first token with this text outside all brackets, at or after `from`. */
  keyword(text: string, from = 0): Token | undefined {
    return this.#tokens.find((token) => token.depth === 0 && token.start >= from && token.text === text);
  }

  /** The tokens from one offset to another; all tokens by default. */
  tokens(start = 0, end = Number.POSITIVE_INFINITY): readonly Token[] {
    return this.#tokens.filter((token) => token.start >= start && token.end <= end);
  }

  #refuseTokens(reason: string, tokens: readonly Token[], hint: string | undefined): Unsupported {
    const start = tokens[0]?.start ?? 0;
    const end = tokens.at(-1)?.end ?? start;
    const place = { text: this.slice(start, end), underlined: underline(this.#bytes, start, end) };
    return new Unsupported(reason, place, hint);
  }

  /**
   * The tokens from `first` to `last`, the rest of the name or call at the end, and the brackets
   * that belong to them.
   */
  #balanced(first: number, last: number): readonly Token[] {
    const tokens = this.#tokens;
    let from = tokens.findIndex(({ end }) => end > first);
    let to = tokens.findIndex(({ end }) => end > last);
    if (from === -1 || to === -1) return [];
    while (tokens[to + 1]?.text === '.') to += 2;
    if (isCall(tokens[to], tokens[to + 1])) to++;
    const shallowest = Math.min(...tokens.slice(from, to + 1).map(innerDepth));
    while (from > 0 && innerDepth(tokens[from] as Token) > shallowest) from--;
    do to++;
    while (to < tokens.length && (tokens[to] as Token).depth > shallowest);
    return tokens.slice(from, to);
  }
}

/** Whether `next` opens the arguments, the length or the subscript of `name`. */
function isCall(name: Token | undefined, next: Token | undefined): boolean {
  return next !== undefined && isOpening(next.text) && next.start === name?.end;
}

/** The depth of a token; for a bracket, the depth outside it. */
function innerDepth({ text, depth }: Token): number {
  return isOpening(text) || isClosing(text) ? depth - 1 : depth;
}

function isOpening(text: string): boolean {
  return text === '(' || text === '[';
}

function isClosing(text: string): boolean {
  return text === ')' || text === ']';
}

/** The lowest and the highest location in a parse tree. */
function extentOf(node: object): { first: number; last: number } {
  let first = Number.POSITIVE_INFINITY;
  let last = 0;
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, member] of Object.entries(value)) {
      if (name === 'location' && typeof member === 'number' && member >= 0) {
        first = Math.min(first, member);
        last = Math.max(last, member);
      } else visit(member);
    }
  };
  visit(node);
  return { first: Math.min(first, last), last };
}
