/**
 * The fenced blocks of a page. The first word after the fence is the language, as everywhere. Words
 * after it say what the test does with the block. GitHub does not show them.
 *
 * - `file=tasks.sql`: a file that the reader saves.
 * - `exits=1`: the exit code of the commands. Default: 0.
 * - `background=app`: the command goes on, under this name.
 * - `until=text`: what a background command prints once it serves. Default: `serving`.
 * - `output`: what the commands before it print. `...` stands for anything.
 * - `output=app`: what the background command of this name prints.
 * - `joins=project:42`: claims of a token that may join that channel. A stranger's token may not.
 * - `elsewhere=test/a.test.ts`: that test runs the block.
 * - `check`: the block needs what a test cannot have, such as a cluster. It is only parsed.
 *
 * A block of `diff` changes the file. A block of `console` is not run: it is for a provider's
 * console, or needs root or Docker. blocks.test.ts lists all blocks that are not run, with their
 * reasons. Where a page says "Ctrl-C", the comment `<!-- stop=app -->` ends the background command
 * `app`.
 */

export interface Block {
  readonly language: string;
  /** Words after the language. A word without `=` has the value ''. */
  readonly words: ReadonlyMap<string, string>;
  readonly text: string;
  /** The line of its fence. */
  readonly line: number;
}

const BLOCK = /^( *)```(\w*)([^\n`]*)\n(.*?)^\1```$|^<!-- (stop=\w+) -->$/gms;

export function blocksOf(page: string): Block[] {
  return [...page.matchAll(BLOCK)].map((match) => {
    const [, indent = '', language = '', words = '', text = '', stop = ''] = match;
    return {
      language,
      words: new Map(`${words} ${stop}`.split(' ').filter(Boolean).map(nameAndValue)),
      text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      line: page.slice(0, match.index).split('\n').length,
    };
  });
}

function nameAndValue(word: string): [string, string] {
  const at = word.indexOf('=');
  return at < 0 ? [word, ''] : [word.slice(0, at), word.slice(at + 1)];
}

/** Whether a program's output has the lines that a page shows. `...` stands for anything. */
export function shows(output: string, expected: string): boolean {
  const lines = expected.trimEnd().split('\n').map(linePattern);
  return new RegExp(`^${lines.join('')}`, 'm').test(`${output.trimEnd()}\n`);
}

function linePattern(line: string): string {
  if (line.trim() === '...') return '(?:.*\\n)*?';
  const parts = line.trimEnd().split('...');
  return `${parts.map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*')}[ \\t]*\\n`;
}

/** Applies a block of `diff`: replaces the lines with ` ` and `-` by those with ` ` and `+`. */
export function changed(text: string, diff: string): string {
  const lines = diff.trimEnd().split('\n');
  const side = (mark: string) =>
    lines.filter((line) => line.startsWith(mark) || !/^[-+]/.test(line)).map((line) => `${line.slice(1)}\n`);
  const [before, after] = [side('-').join(''), side('+').join('')];
  if (text.split(before).length !== 2) throw new Error(`the file does not have these lines once:\n${before}`);
  return text.replace(before, () => after);
}
