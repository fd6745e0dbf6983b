/** The pages as a whole: links, the map of pages, and blocks that no test runs. */
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { loadParser, parseSql } from '../../src/channels/sql/parse.ts';
import { CHECK_REPORT } from '../../src/cli/check/json.ts';
import { DOCTOR_REPORT } from '../../src/cli/doctor/json.ts';
import { type Block, blocksOf, changed, shows } from './blocks.ts';
import { BlocksFor, FOLLOWED, isFollowed, PAGES, pagesIn, ROOT, read } from './pages.ts';

const THIS = 'test/docs/blocks.test.ts';
const own = new BlocksFor(THIS);

/** Blocks that no test can run, by their page and a part of them, and why. */
const NOT_RUN: readonly (readonly [page: string, part: string, reason: string])[] = [
  ['docs/dashboard.md', 'ssh -N -L', 'needs a machine of that name with an SSH server'],
  ['docs/howto/deploy.md', 'systemctl enable', 'changes the machine as root; test/ops/systemd.test.ts checks the unit'],
  ['docs/howto/deploy.md', 'docker run', 'needs Docker'],
  ['docs/howto/deploy.md', 'kind: Deployment', 'needs a Kubernetes cluster'],
  ['docs/howto/install.md', 'docker build', 'needs Docker'],
  ['docs/howto/managed-postgres.md', 'aws rds', 'needs an account of Amazon'],
  ['docs/howto/managed-postgres.md', 'gcloud sql', 'needs an account of Google'],
  ['docs/howto/managed-postgres.md', 'az postgres', 'needs an account of Azure'],
  ['docs/howto/managed-postgres.md', 'supabase --experimental', 'needs an account of Supabase'],
  ['ops/compose/README.md', 'docker compose up', 'needs Docker; test/ops/compose.e2e.test.ts runs its parts without'],
];

interface Found {
  readonly page: string;
  readonly block: Block;
}

const BLOCKS: readonly Found[] = PAGES.filter((page) => !page.startsWith('docs/decisions/')).flatMap((page) =>
  blocksOf(read(page)).map((block) => ({ page, block })),
);
const placeOf = ({ page, block }: Found): string => `${page}:${block.line}`;

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
  const pages = pagesIn('docs').map((page) => page.slice('docs/'.length));
  const listable = pages.filter((page) => page !== 'README.md' && !/^(decisions|performance)\//.test(page));
  expect(listed.toSorted()).toEqual([...listable, '../README.md', 'decisions/README.md'].toSorted());
});

test('every block of the pages is run, apart from those that need what a test cannot have', () => {
  const isRun = ({ page, block }: Found) => {
    if (block.words.has('elsewhere')) return true;
    return isFollowed(block) && Object.values(FOLLOWED).flat().includes(page);
  };
  const notRun = BLOCKS.filter((found) => !isRun(found));
  const reasonOf = ({ page, block }: Found) =>
    NOT_RUN.find(([at, part]) => at === page && block.text.includes(part))?.[2] ?? 'no test runs it';
  expect(notRun.filter((found) => reasonOf(found) === 'no test runs it').map(placeOf)).toEqual([]);
  // The list is exact: it names no block that is run, or that is gone.
  expect(notRun).toHaveLength(NOT_RUN.length);
  expect(new Set(notRun.map(reasonOf)).size).toBe(new Set(NOT_RUN.map(([, , reason]) => reason)).size);
});

test('blocks that another test runs name a test that takes each of them', () => {
  const tests = new Set(BLOCKS.flatMap(({ block }) => block.words.get('elsewhere') ?? []));
  expect(tests.size).toBeGreaterThan(5);
  const others = [...tests].filter((path) => path !== THIS);
  const wanting = others.filter((path) => {
    const source = existsSync(join(ROOT, path)) ? read(path) : '';
    return !source.includes(`BlocksFor('${path}')`) || !source.includes('.left).toEqual([])');
  });
  expect(wanting).toEqual([]);
});

test('every page that a reader follows is named by the test that follows it', () => {
  const unnamed = Object.entries(FOLLOWED).flatMap(([path, pages]) =>
    pages.filter((page) => !read(path).includes(`'${page}'`)),
  );
  expect(unnamed).toEqual([]);
});

test('commands for contributors name scripts, tests and files that exist', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const lines = PAGES.filter((page) => !page.startsWith('docs/decisions/')).flatMap((page) =>
    [...read(page).matchAll(/^ {4}(?:[A-Z_]+=(?:'[^']*'|\S+) )*(?:npm|npx|bash) .*$/gm)].map(([line]) => ({
      page,
      line,
    })),
  );
  expect(lines.length).toBeGreaterThan(25);
  const faults = lines.filter(({ line }) => {
    const command = line.replace(/ #.*/, '');
    const isScript = [...command.matchAll(/\bnpm run (\S+)/g)].every(([, name]) =>
      Object.hasOwn(scripts, name as string),
    );
    // A part of a path chooses the tests whose paths begin with it.
    const paths = [...command.matchAll(/\b(?:test|bench|\.ci)\/[\w./-]+/g)].map(([path]) => path);
    const exist = paths.every((path) =>
      readdirSync(join(ROOT, dirname(path))).some((name) => name.startsWith(basename(path))),
    );
    return !isScript || !exist;
  });
  expect(faults).toEqual([]);
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
    'docs/performance.md',
    'docs/presence.md',
    'docs/protocol.md',
    'docs/reliability.md',
    'docs/security.md',
  ]);
});

test('SQL in all pages can be parsed by the grammar of Postgres', async () => {
  await loadParser();
  const blocks = BLOCKS.filter(({ block }) => block.language === 'sql').map((found) => ({
    at: placeOf(found),
    text: found.block.text,
  }));
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
  const isShell = ({ block: { language, words } }: Found) =>
    language === 'console' || (language === 'sh' && words.has('check'));
  const blocks = BLOCKS.filter(isShell).map((found) => ({ at: placeOf(found), text: found.block.text }));
  expect(blocks.length).toBeGreaterThan(8);
  for (const { at, text } of blocks)
    await expect(promisify(execFile)('bash', ['-n', '-c', text]), at).resolves.toMatchObject({ stderr: '' });
});

test.each([
  ['sno doctor --json', DOCTOR_REPORT, DOCTOR_REPORT.shape.findings.element.shape],
  ['sno check --json', CHECK_REPORT, CHECK_REPORT.shape.channels.element.shape],
])('docs/json.md shows what %s prints, with every member', (title, report, elements) => {
  const section = read('docs/json.md').split(`## ${title}\n`)[1]?.split('\n## ')[0] ?? '';
  const example = own.take('docs/json.md', title.startsWith('sno doctor') ? '"findings": [' : '"channels": [');
  expect(section).toContain(example.text);
  expect(report.safeParse(JSON.parse(example.text)).error).toBeUndefined();
  const members = [...section.matchAll(/^\| (?:\w+\[\]\.)?(\w+) \|/gm)].map(([, name]) => name);
  expect(Object.keys({ ...report.shape, ...elements }).filter((name) => !members.includes(name))).toEqual(
    // Said above the table, and named by every row of the other.
    title === 'sno check --json' ? ['format', 'version', 'pattern'] : ['format'],
  );
});

test('every block that the pages leave to this test was read', () => {
  expect(own.left).toEqual([]);
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
