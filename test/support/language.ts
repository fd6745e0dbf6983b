/** The rules for plain English (docs/CONTRIBUTING.md) that a program can check. */

/** A text for people, and the lines of its file that contain it. */
export interface Prose {
  readonly kind: 'comment' | 'name' | 'paragraph';
  readonly line: number;
  readonly lineCount: number;
  readonly text: string;
}

/** Maximum width of a line that holds a comment, in columns. */
const COLUMNS_MAX = 100;
/** Maximum words of a sentence in a comment. The aim is 25. */
const WORDS_MAX = 35;

/** Phrases that hide the subject or are unusual English, with the words to use instead. */
const PHRASES: readonly (readonly [pattern: RegExp, advice: string])[] = [
  [/(?:^|[.!?] |\n ?)(?:Who|Whoever|Whatever|Those|Of|What is|What was)\b(?![^.]*\?)/, 'name the subject'],
  [/\b(?:[Ss]omebody|[Nn]obody|[Ww]hoever)\b/, 'name the subject: a client, a process, a user'],
  [/\bno such\b/, 'say "unknown", "missing" or "does not exist"'],
  [/(?<!\bthere )\b(?:is|are|was|were) none\b(?! of)/, 'say "is missing" or "there is no ..."'],
  [/\b(?:is|are) none of (?:its|the|their|that)\b/, 'say "is not a ..."'],
];

/**
 * Comments of TypeScript and JavaScript, without their marks. Comments that follow code count too.
 */
export function commentsOf(source: string): Prose[] {
  const blocks = /^[ \t]*\/\*(.*?)\*\/|(?:^[ \t]*\/\/[^\n]*(?:\n|$))+|(?<=[;,{}()\]>|&?:=+'\w] )\/\/ [^\n]*$/gms;
  return [...source.matchAll(blocks)].map(({ 0: whole, index }) => ({
    kind: 'comment',
    line: lineAt(source, index),
    lineCount: whole.trimEnd().split('\n').length,
    text: whole.replaceAll(/^[ \t]*(?:\/\*+|\*+\/|\*|\/\/)[ \t]?|\*\/$/gm, '').trim(),
  }));
}

/** Names of tests and of their groups. */
export function namesOf(source: string): Prose[] {
  const names =
    /(?:^[ \t]*(?:test|describe)(?:\.[\w.]+)?\(|\]\)\(|^[ \t]+)('[^'\n]+'|`[^`\n]+`|"[^"\n]+"),\n?.*=> \{$/gm;
  return [...source.matchAll(names)].map(({ 0: whole, 1: name = '', index }) => ({
    kind: 'name',
    line: lineAt(source, index),
    lineCount: whole.trimEnd().split('\n').length,
    text: name.slice(1, -1),
  }));
}

/** Paragraphs of Markdown: neither code nor tables. */
export function paragraphsOf(page: string): Prose[] {
  const text = page.replaceAll(/^```.*?^```$/gms, (block) => block.replaceAll(/[^\n]/g, ''));
  return [...text.matchAll(/(?:^(?! {4}|\|).*\S.*\n?)+/gm)].map(({ 0: whole, index }) => ({
    kind: 'paragraph',
    line: lineAt(text, index),
    lineCount: whole.trimEnd().split('\n').length,
    text: whole.trim(),
  }));
}

/** Lines with a comment that are too wide. Links and marks for linters cannot be broken. */
export function wideComments(source: string): string[] {
  const lines = source.split('\n');
  return commentsOf(source).flatMap(({ line, lineCount }) =>
    Array.from({ length: lineCount }, (_, index) => line + index)
      .filter((number) => {
        const content = lines[number - 1] ?? '';
        return content.length > COLUMNS_MAX && !/https?:\/\/\S{40}|\bbiome-ignore\b/.test(content);
      })
      .map((number) => `${number}: wider than ${COLUMNS_MAX} columns`),
  );
}

/** Maximum width of a line of a page, in columns. */
const PAGE_COLUMNS_MAX = 120;

/** Lines of prose that are too wide: tables and code may be wider. */
export function wideProse(page: string): string[] {
  const lines = page.split('\n');
  return paragraphsOf(page).flatMap(({ line, lineCount }) =>
    Array.from({ length: lineCount }, (_, index) => line + index)
      .filter((number) => !/^\s*\|/.test(lines[number - 1] ?? ''))
      .filter((number) => (lines[number - 1]?.length ?? 0) > PAGE_COLUMNS_MAX)
      .map((number) => `${number}: wider than ${PAGE_COLUMNS_MAX} columns`),
  );
}

/** The rules that a text breaks. */
export function faultsOf({ kind, line, text }: Prose): string[] {
  const prose = withoutQuotes(text);
  const faults = PHRASES.flatMap(([pattern, advice]) => {
    const found = pattern.exec(prose);
    return found === null ? [] : [`${line}: "${found[0].replace(/^\W+/, '')}": ${advice}`];
  });
  if (kind === 'comment') {
    const longest = Math.max(...sentencesOf(prose).map((sentence) => sentence.split(' ').length));
    if (longest > WORDS_MAX) faults.push(`${line}: a sentence of ${longest} words`);
  }
  return faults;
}

function sentencesOf(prose: string): string[] {
  return prose.split(/(?<=[.:;!?]\)?) |\n/);
}

/** The text on one line, without code and quoted text, which may contain any word. */
function withoutQuotes(text: string): string {
  return text
    .replaceAll(/`[^`]*`|"[^"]*"|“[^”]*”/g, '…')
    .replaceAll(/\n(?!\n|\s*[-*] |\s*\d\. )/g, ' ')
    .replaceAll(/ {2,}/g, ' ');
}

function lineAt(source: string, index: number): number {
  return source.slice(0, index).split('\n').length;
}
