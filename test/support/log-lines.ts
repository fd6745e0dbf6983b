/** The lines of the log, as the source writes them. */

export interface LogLine {
  readonly file: string;
  /** `warn`, or `warn, error` if a condition decides. */
  readonly level: string;
  /** The text, with `…` for each part that is not literal. */
  readonly message: string;
  /** Names of the other fields. */
  readonly fields: readonly string[];
}

/** A call of a logger. Lines of level debug are for developers. */
const CALL = /\b(?:logger|Logger)(?:\.(info|warn|error|fatal)|\[([^\]]+)\])\(/g;
const LEVELS = /info|warn|error|fatal/g;

export function logLinesOf(file: string, source: string): LogLine[] {
  return [...source.matchAll(CALL)].map(({ 0: call, 1: named, 2: computed = '', index }) => {
    const args = argumentsOf(source, index + call.length);
    const levels = named ?? [...new Set(levelsOf(computed, source))].join(', ');
    const isObject = args.length > 1;
    return {
      file,
      level: levels,
      message: args.map(textOf).at(-1) ?? '',
      fields: isObject ? fieldsOf(args[0] as string) : [],
    };
  });
}

/** A level that is computed: the names in the expression, or in the variable's value. */
function levelsOf(expression: string, source: string): string[] {
  const own = expression.match(LEVELS);
  if (own !== null) return own;
  return new RegExp(`const ${expression} = ([^;]*);`).exec(source)?.[1]?.match(LEVELS) ?? [];
}

/** The arguments of a call, each as source text, from after its opening bracket. */
function argumentsOf(source: string, from: number): string[] {
  const args: string[] = [];
  let depth = 0;
  let start = from;
  for (let at = from; at < source.length; at++) {
    const character = source[at] as string;
    if ('\'"`'.includes(character)) at = endOfText(source, at);
    else if ('([{'.includes(character)) depth++;
    else if (depth > 0 && ')]}'.includes(character)) depth--;
    else if (depth === 0 && (character === ',' || character === ')')) {
      const arg = source.slice(start, at).trim();
      if (arg !== '') args.push(arg);
      start = at + 1;
      if (character === ')') break;
    }
  }
  return args;
}

/** The index of the quote that ends the text that begins at `at`. */
function endOfText(source: string, at: number): number {
  const quote = source[at];
  for (let index = at + 1; index < source.length; index++) {
    if (source[index] === '\\') index++;
    else if (quote === '`' && source.startsWith('${', index)) index = endOfPlaceholder(source, index + 2);
    else if (source[index] === quote) return index;
  }
  return source.length;
}

function endOfPlaceholder(source: string, from: number): number {
  let depth = 0;
  for (let index = from; index < source.length; index++) {
    const character = source[index] as string;
    if ('\'"`'.includes(character)) index = endOfText(source, index);
    else if (character === '{') depth++;
    else if (character === '}' && depth-- === 0) return index;
  }
  return source.length;
}

/** The literal text of an expression. Alternatives are joined by ` / `. */
function textOf(expression: string): string {
  const texts: string[] = [];
  for (let at = 0; at < expression.length; at++) {
    const quote = expression[at] as string;
    if (!'\'"`'.includes(quote)) continue;
    const end = endOfText(expression, at);
    const inner = expression.slice(at + 1, end);
    texts.push(quote === '`' ? withoutPlaceholders(inner) : inner.replaceAll(/\\(.)/g, '$1'));
    at = end;
  }
  const isConcatenated = /['"`]\s*\+/.test(expression);
  return texts.length === 0 ? '…' : texts.join(isConcatenated ? '' : ' / ');
}

function withoutPlaceholders(template: string): string {
  let text = '';
  for (let at = 0; at < template.length; at++) {
    if (!template.startsWith('${', at)) {
      text += template[at];
      continue;
    }
    at = endOfPlaceholder(template, at + 2);
    text += '…';
  }
  return text;
}

/** The members of an object literal: `{ code, hint: x, ...rest }` has code and hint. */
function fieldsOf(literal: string): string[] {
  if (!literal.startsWith('{')) return [];
  return argumentsOf(`${literal.slice(1, -1)})`, 0).map((part) => /^(\.\.\.)?[\w.]+/.exec(part)?.[0] ?? '');
}
