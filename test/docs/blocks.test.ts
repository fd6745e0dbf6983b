/** The pages as a whole: links, the map of pages, and blocks that no test runs. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { transform } from 'esbuild';
import { describe, expect, test } from 'vitest';
import { loadParser, parseSql } from '../../src/channels/sql/parse.ts';
import { CHECK_REPORT } from '../../src/cli/check/json.ts';
import { DOCTOR_REPORT } from '../../src/cli/doctor/json.ts';
import { blocksOf, changed, shows } from './blocks.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const read = (page: string) => readFileSync(join(ROOT, page), 'utf8');
const inFolder = (folder: string) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => `${folder}/${file}`);
const PAGES = ['README.md', ...inFolder('docs'), ...inFolder('ops')];

/** The anchors that GitHub gives to headings, and those written in the page. */
function anchorsOf(page: string): Set<string> {
  const text = page.replaceAll(/^```.*?^```$/gms, '');
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-'),
  );
  return new Set([...headings, ...[...text.matchAll(/<a id="([^"]+)"/g)].map(([, id = '']) => id)]);
}

/** Links of a page whose file or heading does not exist. */
function brokenLinks(page: string): string[] {
  const text = read(page).replaceAll(/^```.*?^```$/gms, '');
  const links = [...text.matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(([, link = '']) => link);
  return links.filter((link) => {
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page : normalize(join(dirname(page), path));
    if (!existsSync(join(ROOT, target))) return true;
    return anchor !== undefined && target.endsWith('.md') && !anchorsOf(read(target)).has(decodeURIComponent(anchor));
  });
}

test('all pages link only to what exists', () => {
  expect(PAGES.flatMap((page) => brokenLinks(page).map((link) => `${page}: ${link}`))).toEqual([]);
});

test('docs/README.md lists every page, once', () => {
  const listed = [...read('docs/README.md').matchAll(/^\| \[[^\]]+\]\(([^)]+)\)/gm)].map(([, link = '']) => link);
  const pages = inFolder('docs').map((page) => page.slice('docs/'.length));
  const own = pages.filter((page) => page !== 'README.md' && !/^(decisions|performance)\//.test(page));
  expect(listed.toSorted()).toEqual([...own, '../README.md', 'decisions/README.md'].toSorted());
});

test('blocks that are not run are few, and only in pages about installing and about providers', () => {
  const notRun = PAGES.flatMap((page) =>
    blocksOf(read(page))
      .filter(({ language }) => language === 'console')
      .map(() => page),
  );
  expect([...new Set(notRun)].toSorted()).toEqual([
    'docs/howto/deploy.md',
    'docs/howto/install.md',
    'docs/howto/managed-postgres.md',
  ]);
  expect(notRun.length).toBeLessThan(16);
});

test('blocks that another test runs name a test that exists', () => {
  const tests = PAGES.flatMap((page) => blocksOf(read(page)).flatMap(({ words }) => words.get('elsewhere') ?? []));
  expect(tests.length).toBeGreaterThan(0);
  expect(tests.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

test('all pages but a few have no indented code, since only fenced blocks are run or parsed', () => {
  const indented = PAGES.filter((page) => !/decisions\//.test(page)).filter((page) =>
    /\n\n {4}\S/.test(read(page).replaceAll(/^( *)```.*?^\1```$/gms, '')),
  );
  // Drawings, commands of this repository, and frames, which test/protocol.test.ts reads.
  expect(indented.toSorted()).toEqual([
    'README.md',
    'docs/CONTRIBUTING.md',
    'docs/architecture.md',
    'docs/channels.md',
    'docs/performance.md',
    'docs/presence.md',
    'docs/protocol.md',
    'docs/reliability.md',
    'docs/security.md',
  ]);
});

test('SQL in all pages can be parsed by the grammar of Postgres', async () => {
  await loadParser();
  const blocks = PAGES.flatMap((page) =>
    blocksOf(read(page))
      .filter(({ language }) => language === 'sql')
      .map(({ text, line }) => ({ at: `${page}:${line}`, text })),
  );
  expect(blocks.length).toBeGreaterThan(20);
  const faults = blocks.flatMap(({ at, text }) => {
    try {
      return parseSql(text).length > 0 ? [] : [`${at}: no statement`];
    } catch (error) {
      return [`${at}: ${(error as Error).message}`];
    }
  });
  expect(faults).toEqual([]);
});

test('shell commands that no test runs can be parsed by bash', async () => {
  const blocks = PAGES.flatMap((page) =>
    blocksOf(read(page))
      .filter(({ language, words }) => language === 'console' || (language === 'sh' && words.has('check')))
      .map(({ text, line }) => ({ at: `${page}:${line}`, text })),
  );
  expect(blocks.length).toBeGreaterThan(10);
  for (const { at, text } of blocks)
    await expect(promisify(execFile)('bash', ['-n', '-c', text]), at).resolves.toMatchObject({ stderr: '' });
});

test.each([
  ['sno doctor --json', DOCTOR_REPORT, DOCTOR_REPORT.shape.findings.element.shape],
  ['sno check --json', CHECK_REPORT, CHECK_REPORT.shape.channels.element.shape],
])('docs/json.md shows what %s prints, with every member', (title, report, elements) => {
  const section = read('docs/json.md').split(`## ${title}\n`)[1]?.split('\n## ')[0] ?? '';
  const [example] = blocksOf(section);
  expect(report.safeParse(JSON.parse(example?.text ?? '')).error).toBeUndefined();
  const members = [...section.matchAll(/^\| (?:\w+\[\]\.)?(\w+) \|/gm)].map(([, name]) => name);
  expect(Object.keys({ ...report.shape, ...elements }).filter((name) => !members.includes(name))).toEqual(
    // Said above the table, and named by every row of the other.
    title === 'sno check --json' ? ['format', 'version', 'pattern'] : ['format'],
  );
});

test('programs in all pages can be parsed', async () => {
  const loaders = { js: 'js', ts: 'ts', tsx: 'tsx' } as const;
  let count = 0;
  for (const page of PAGES) {
    for (const { language, text, line } of blocksOf(read(page))) {
      const loader = loaders[language as keyof typeof loaders];
      if (loader === undefined) continue;
      count++;
      // `...` stands for what the reader writes
      const program = text.replaceAll(/=> \.\.\.(?=\))/g, '=> {}');
      await expect(
        transform(program, { loader }).then(() => '', String),
        `${page}:${line}`,
      ).resolves.toBe('');
    }
  }
  expect(count).toBeGreaterThan(15);
});

describe('the reader of blocks', () => {
  test('finds languages, words and lines', () => {
    const page = 'A\n\n```sh exits=1 background\nfalse\n```\n\n- b\n\n  ```sql\n  select 1;\n  ```\n';
    expect(blocksOf(page).map(({ words, ...block }) => ({ ...block, words: [...words] }))).toEqual([
      {
        language: 'sh',
        text: 'false\n',
        line: 3,
        words: [
          ['exits', '1'],
          ['background', ''],
        ],
      },
      { language: 'sql', text: 'select 1;\n', line: 9, words: [] },
    ]);
  });

  test.each([
    ['a 17 b\n', 'a ... b', true],
    ['x\na\nb\n', 'a\nb', true],
    ['a\nx\nb\n', 'a\nb', false],
    ['a\nx\ny\nb\n', 'a\n...\nb', true],
    ['ab\n', 'a', false],
    ['a(b\n', 'a(b\n', true],
  ])('%j shows %j: %j', (output, expected, answer) => {
    expect(shows(output, expected)).toBe(answer);
  });

  test('changes a file by a diff, whose lines must be there once', () => {
    expect(changed('a\nb\nc\n', ' a\n-b\n+d\n')).toBe('a\nd\nc\n');
    expect(() => changed('a\na\n', '-a\n')).toThrow('once');
  });
});
