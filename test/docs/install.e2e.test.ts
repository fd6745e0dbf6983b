/**
 * The pages' commands that install Snö, in a clone of this repository and in a project beside it.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { plainEnvironment } from '../support/service.ts';
import { until } from '../support/wait.ts';
import type { Block } from './blocks.ts';
import { BlocksFor, ROOT } from './pages.ts';

const blocks = new BlocksFor('test/docs/install.e2e.test.ts');
const execute = promisify(execFile);
const TIMEOUT_MS = 600_000;

let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'sno-install-'));
  // What a clone of this state has: no build, and no packages.
  const { stdout } = await execute('git', ['ls-files', '-z', '-co', '--exclude-standard'], { cwd: ROOT });
  for (const file of stdout.split('\0').filter(Boolean)) await cp(join(ROOT, file), join(home, 'sno', file));
  await newProject();
}, TIMEOUT_MS);
afterAll(() => rm(home, { recursive: true, force: true }));

/** An empty project beside the clone. */
async function newProject(): Promise<void> {
  await rm(join(home, 'app'), { recursive: true, force: true });
  await mkdir(join(home, 'app'));
  await writeFile(join(home, 'app/package.json'), '{ "name": "app", "private": true }');
}

const ENVIRONMENT = { ...plainEnvironment(), npm_config_prefer_offline: 'true', npm_config_audit: 'false' };

/** Runs a page's commands, and returns what they print. Rejects with it if one fails. */
async function run(folder: 'sno' | 'app', { text }: Pick<Block, 'text'>): Promise<string> {
  const options = { cwd: join(home, folder), env: ENVIRONMENT, maxBuffer: 1e8 };
  const { stdout } = await execute('bash', ['-eo', 'pipefail', '-c', text], options).catch((error) => {
    throw new Error(`${text}\n${error.stdout}${error.stderr}`);
  });
  return stdout;
}

/** Commands that were run in the clone. */
const done = new Set<string>();

/** Runs a page's commands in the clone, without those that another page had run there before. */
async function runInClone({ text }: Block): Promise<void> {
  const commands = text.split(/\n|&&/).map((command) => command.replace(/ #.*/, '').trim());
  const later = commands.filter((command) => command !== '' && !done.has(command));
  for (const command of later) done.add(command);
  await run('sno', { text: later.join('\n') });
}

/** What an import in the project has. */
const exportOf = (name: string, member: string) =>
  run('app', { text: `node --input-type=module -e "console.log(typeof (await import('${name}')).${member})"` });

test('README.md: the package is packed in the clone, and installed in a project beside it', {
  timeout: TIMEOUT_MS,
}, async () => {
  await runInClone(blocks.take('README.md', 'npm pack'));
  expect(await exportOf('@sno-realtime/sno/client', 'connect')).toBe('function\n');
  expect(await exportOf('jose', 'SignJWT')).toBe('function\n');
});

test('docs/howto/install.md: a packed file', { timeout: TIMEOUT_MS }, async () => {
  await newProject();
  await runInClone(blocks.take('docs/howto/install.md', 'npm pack  '));
  const printed = await run('app', blocks.take('docs/howto/install.md', 'npx sno --version'));
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  expect(printed.trim().split('\n').at(-1)).toContain(version);
});

test('docs/howto/install.md: the client alone', { timeout: TIMEOUT_MS }, async () => {
  await newProject();
  await runInClone(blocks.take('docs/howto/install.md', 'npm pack ./dist/packages/client'));
  await run('app', blocks.take('docs/howto/install.md', 'npm install ../sno/sno-realtime-client-0.1.0.tgz'));
  expect(await exportOf('@sno-realtime/client', 'connect')).toBe('function\n');
});

test.each([
  ['docs/howto/token-server.md', 'npm install jose', 'jose', 'SignJWT'],
  ['docs/tutorial.md', 'npm install jose', 'jose', 'SignJWT'],
  ['docs/tutorial.md', 'npm install pg', 'pg', 'Client'],
])('%s: %s', async (page, command, name, member) => {
  await newProject();
  await run('app', blocks.take(page, command));
  expect(await exportOf(name, member)).toBe('function\n');
});

test('docs/howto/install.md: the demo runs in the clone', { timeout: TIMEOUT_MS }, async () => {
  const { text } = blocks.take('docs/howto/install.md', 'npm run demo');
  const child = spawn('bash', ['-ec', text], {
    cwd: join(home, 'sno'),
    // No browser opens.
    env: { ...ENVIRONMENT, DISPLAY: '' },
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true,
  });
  const closed = once(child, 'close');
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (printed += part));
  try {
    await until(() => printed.includes('Ctrl-C') || child.exitCode !== null, 'the demo is up', TIMEOUT_MS);
    const [url = printed] = /http:\/\/127\.0\.0\.1:\d+\//.exec(printed) ?? [];
    expect(await (await fetch(url)).text()).toContain('<title>');
  } finally {
    process.kill(-(child.pid as number), 'SIGTERM');
    await closed;
  }
});

test('every command that the pages leave to this test was run', () => {
  expect(blocks.left).toEqual([]);
});
