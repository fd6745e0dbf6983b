/** Comments, docs and names of tests are plain English, as far as a program can check. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { commentsOf, faultsOf, namesOf, paragraphsOf, wideComments, wideProse } from './support/language.ts';

const ROOT = new URL('../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), 'utf8');

function filesIn(folder: string, names: RegExp): string[] {
  return readdirSync(new URL(folder, ROOT), { recursive: true, encoding: 'utf8' })
    .filter((file) => names.test(file) && !file.includes('node_modules'))
    .map((file) => `${folder}/${file}`);
}

describe('the repository', () => {
  const sources = ['src', 'test', 'bench', 'examples', 'findings'].flatMap((folder) =>
    filesIn(folder, /\.(ts|mjs|js)$/),
  );
  const tests = sources.filter((file) => file.endsWith('.test.ts'));
  const pages = ['README.md', ...filesIn('docs', /\.md$/), ...filesIn('findings', /\.md$/)];

  test('has no comment wider than 100 columns', () => {
    expect(sources.flatMap((file) => wideComments(read(file)).map((fault) => `${file}:${fault}`))).toEqual([]);
  });

  test('has no page with a line of prose wider than 120 columns', () => {
    // They have names of tests, and captions that benchmarks write.
    const wrapped = pages.filter((file) => !/(invariants|performance)\.md$/.test(file));
    expect(wrapped.flatMap((file) => wideProse(read(file)).map((fault) => `${file}:${fault}`))).toEqual([]);
  });

  test.each([
    ['comments', sources, commentsOf],
    ['names of tests', tests, namesOf],
    ['pages', pages, paragraphsOf],
  ] as const)('has %s in plain English', (_, files, textsOf) => {
    const texts = files.flatMap((file) => textsOf(read(file)).map((prose) => [file, prose] as const));
    expect(texts.length).toBeGreaterThan(200);
    expect(texts.flatMap(([file, prose]) => faultsOf(prose).map((fault) => `${file}:${fault}`))).toEqual([]);
  });
});

describe('the rules', () => {
  const comment = (text: string) => commentsOf(text).flatMap(faultsOf);

  test.each([
    ['// Who connects is counted', 'name the subject'],
    ['/** Of all readers. */', 'name the subject'],
    ['/**\n * Counts bytes.\n * What is left is sent.\n */', 'name the subject'],
    [`call(); ${'//'} nobody waits`, 'a client, a process, a user'],
    ['// throws where a key is none', 'is missing'],
    ['// the server has no such channel', 'unknown'],
    [`// ${'word '.repeat(40)}`, '40 words'],
  ])('refuse %j', (source, advice) => {
    expect(comment(source)).toEqual([expect.stringContaining(advice)]);
  });

  test.each([
    '// Counts the clients that are connected. None of them waits.',
    '// Does the client read? What is missing then?',
    '// the error reads `no such channel`, or "nobody"',
    "const text = 'nobody'; const url = 'https://example.com';",
    '/** Undefined if there is none. */',
    `// ${'word '.repeat(20)}. ${'word '.repeat(20)}`,
  ])('allow %j', (source) => {
    expect(comment(source)).toEqual([]);
  });

  test('refuse a comment of 101 columns, and allow one of 100', () => {
    const wide = `// ${'x'.repeat(97)}`;
    expect(wideComments(`one();\n  /**\n   * ${'y'.repeat(96)}\n   */\n${wide}`)).toEqual([
      '3: wider than 100 columns',
    ]);
    expect(wideComments(`${wide}x`)).toEqual(['1: wider than 100 columns']);
  });

  test('refuse a line of a page of 121 columns, but not in code and tables', () => {
    const wide = 'x'.repeat(121);
    expect(wideProse(`${wide.slice(1)}\n${wide}\n\n- a\n  | ${wide} |\n\n    ${wide}\n\n| ${wide} |`)).toEqual([
      '2: wider than 120 columns',
    ]);
  });

  test('find the names of tests and groups', () => {
    const source =
      "describe('who asks', () => {\n  test('nobody waits', async () => {\n  });\n});\ntest.each([\n  1,\n])('%s is none', () => {\n});\n";
    expect(namesOf(source).map(({ line, text }) => [line, text])).toEqual([
      [1, 'who asks'],
      [2, 'nobody waits'],
      [7, '%s is none'],
    ]);
  });

  test('read paragraphs, but neither code nor tables', () => {
    const page = 'Nobody waits.\n\n```\nnobody\n```\n\n    nobody\n\n| nobody |\n\n- whoever\n';
    expect(paragraphsOf(page).flatMap(faultsOf)).toEqual([
      expect.stringMatching(/^1: "Nobody"/),
      expect.stringMatching(/^11: "whoever"/),
    ]);
  });
});
