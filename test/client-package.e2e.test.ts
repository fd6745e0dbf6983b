/**
 * The client's own package, installed into the React app of examples/react as a user does: its
 * types, a bundle of Vite in Chromium, CommonJS, and jsdom.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { blocksOf } from './docs/blocks.ts';
import { type Stage, stage } from './service/stage.ts';
import { launchBrowser } from './support/browser.ts';
import { plainEnvironment } from './support/service.ts';
import { until } from './support/wait.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const EXAMPLE = join(ROOT, 'examples/react');
const NAME = '@sno-realtime/client';
const ORIGIN = 'https://app.test';
const read = (path: string) => readFile(join(ROOT, path), 'utf8');

/** A clone of this repository, as far as the example needs it. */
let clone: string;
let app: string;
let here: Stage;
let browser: Browser;

/** Runs a command in the app's folder. Rejects with its output if it fails. */
async function run(command: string, parameters: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const options = { cwd: app, env: { ...plainEnvironment(), ...env } };
  const { stdout } = await promisify(execFile)(command, parameters, options).catch((error) => {
    throw new Error(`${command} ${parameters.join(' ')}: ${error.stdout}${error.stderr}`);
  });
  return stdout;
}

const tsc = (...flags: readonly string[]) =>
  run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--noEmit', ...flags]);

/** Follows examples/README.md from the packing on: `npm test` has built the package. */
async function install(): Promise<void> {
  clone = await mkdtemp(join(tmpdir(), 'sno-react-'));
  app = clone;
  await cp(join(ROOT, 'dist/packages/client'), join(clone, 'dist/packages/client'), { recursive: true });
  await cp(EXAMPLE, join(clone, 'examples/react'), { recursive: true });
  const [commands] = blocksOf(await read('examples/README.md'));
  const [, packed] = commands?.text.split('npm run build\n') ?? [];
  const flags = ['engine_strict', 'ignore_scripts', 'prefer_offline'].map((name) => [`npm_config_${name}`, 'true']);
  await run('sh', ['-ec', packed ?? 'exit 1'], Object.fromEntries(flags));
  app = join(clone, 'examples/react');
  const others = ['@tanstack/db@0.15.2', 'jsdom@26.1.0', 'ws@8.23.0'];
  await run('npm', ['install', ...others], Object.fromEntries(flags));
}

beforeAll(async () => {
  const schema = await readFile(join(EXAMPLE, 'schema.sql'), 'utf8');
  [here, browser] = await Promise.all([
    stage(schema, { SNO_ALLOWED_ORIGINS: ORIGIN, SNO_ACCESS: 'views' }),
    launchBrowser(),
    install(),
  ]);
}, 300_000);
afterAll(async () => {
  await browser?.close();
  await here?.end();
  await rm(clone, { recursive: true, force: true });
});

test('has the client and no dependencies, in the version of the server', async () => {
  const manifest = JSON.parse(await readFile(join(app, 'node_modules', NAME, 'package.json'), 'utf8'));
  const { version } = JSON.parse(await read('package.json'));
  expect(manifest).toMatchObject({ name: NAME, version });
  expect([manifest.dependencies, manifest.scripts]).toEqual([undefined, undefined]);
  expect((await readdir(join(app, 'node_modules', NAME))).toSorted()).toEqual([
    'LICENSE',
    'README.md',
    'cjs',
    'client',
    'package.json',
    'protocol.d.ts',
    'protocol.js',
  ]);
});

/** Saves the programs of the pages in the app, as their reader does. */
async function writePages(): Promise<void> {
  for (const page of ['docs/react.md', 'docs/tanstack.md', 'docs/presence.md']) {
    const folder = join(app, 'src/pages', page);
    const programs = blocksOf(await read(page)).filter(({ words }) => words.has('file'));
    expect(programs.length).toBeGreaterThan(1);
    for (const { words, text } of programs) {
      const file = join(folder, words.get('file') ?? '');
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, text);
    }
    // What the pages name: the channels, and the client of docs/react.md.
    const channels = await readFile(join(EXAMPLE, 'src/channels.ts'), 'utf8');
    const rooms = "'room:{room}': { row: never; key: never; values: { room: number } };";
    await writeFile(join(folder, 'src/channels.ts'), channels.replace(/\}\n$/, `${rooms}}\n`));
    if (!programs.some(({ words }) => words.get('file') === 'src/sno.ts'))
      await cp(join(EXAMPLE, 'src/sno.ts'), join(folder, 'src/sno.ts'));
  }
}

/** What the fragments of docs/client.md name and do not declare. */
const GIVEN: Readonly<Record<string, string>> = {
  sno: `import { connect as given } from '${NAME}'; const sno = given('wss://sno.example.com/v1');`,
  tasks: `import { connect as other } from '${NAME}'; const tasks = other('').live<Task>('project:42');`,
  Task: 'interface Task { id: number; title: string; status: string }',
  render: 'declare function render(rows: unknown): void;',
  show: 'declare function show(...shown: unknown[]): void;',
  patchTask: 'declare function patchTask(id: number, patch: object): Promise<{ xid: string }>;',
  pending: 'const pending = new Map<number, object>(); const id = 7; const title: string = "Paint";',
  projectId: 'declare const projectId: number;',
};

/** Writes the fragments of docs/client.md as modules. A line that "does not compile" must not. */
async function writeFragments(): Promise<void> {
  const fragments = blocksOf(await read('docs/client.md')).filter(
    // Without the programs of Node, whose `ws` has no types here.
    ({ language, text }) => language === 'ts' && !text.includes("from 'ws'"),
  );
  expect(fragments.length).toBeGreaterThan(5);
  for (const { text, line } of fragments) {
    const isMissing = (name: string) =>
      new RegExp(`\\b${name}\\b`).test(text) && !new RegExp(`\\b(const|interface|type) ${name}\\b`).test(text);
    const body = text
      .replaceAll('=> ...)', '=> {})')
      .replaceAll(/^.*\/\/ does not compile/gm, (wrong) => `// @ts-expect-error\n${wrong}`);
    const needed = Object.keys(GIVEN).filter((name) => isMissing(name) || (name === 'Task' && isMissing('tasks')));
    const module = [...needed.map((name) => GIVEN[name]), body, 'export {};'].join('\n');
    await writeFile(join(app, `src/pages/docs/react.md/src/client-${line}.ts`), module);
  }
}

test('the app of the example and the programs of the pages compile, as bundlers find their types', async () => {
  await writePages();
  await writeFragments();
  await tsc('-p', '.');
});

test('Vite bundles the app, and the page follows the database', async () => {
  await run('npx', ['--no', 'vite', 'build'], { VITE_SNO_URL: here.service.url });
  const page = await browser.newPage({ ignoreHTTPSErrors: true });
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.route(`${ORIGIN}/**`, async (route) => {
    const path = new URL(route.request().url()).pathname;
    await route.fulfill({ path: join(app, 'dist', path === '/' ? 'index.html' : path) });
  });
  await page.goto(`${ORIGIN}/`);
  await page.click('text=Buy paint');
  await here.query("update tasks set done = true where title = 'Buy paint'");
  await until(async () => (await page.textContent('#chosen')) === 'Buy paint: done', 'the change');
  await here.query("insert into tasks (project_id, title) values (42, 'Rest')");
  await page.waitForSelector('text=Rest');
  expect([await page.textContent('#status'), errors]).toEqual(['open', []]);
});

const TYPED = `import { connect, type LiveView } from '${NAME}';
import { presence } from '${NAME}/presence';
import { useLive, usePresence } from '${NAME}/react';
import { snoCollectionOptions } from '${NAME}/tanstack';
const client = connect('wss://sno.example.com');
export const view: LiveView<{ id: number }> = client.live('project:42');
export const Rows = () => useLive<{ id: number }>('project:42').rows.map(({ id }) => id.toFixed());
export const options = snoCollectionOptions<{ id: number }, number>({ client, channel: 'a', getKey: ({ id }) => id });
export const names = presence<{ name: string }>(client, 'a').members.map(({ info }) => info.name.trim());
export const Here = () => usePresence<{ name: string }>('a').members.map(({ info }) => info.name.trim());
// @ts-expect-error
export const wrong: number = view.get(7);`;
const DYNAMIC = `export const client = import('${NAME}').then(({ connect }) => connect('wss://sno.example.com'));
export const hook = import('${NAME}/react').then(({ useLive }) => useLive<{ id: number }>('project:42').rows[0]?.id);
export const here = import('${NAME}/presence').then(({ presence }) => presence);
export const options = import('${NAME}/tanstack').then(({ snoCollectionOptions }) => snoCollectionOptions);`;

test('Node finds its types from modules and from CommonJS', async () => {
  await writeFile(join(app, 'typed.mts'), TYPED);
  await writeFile(join(app, 'typed.cts'), DYNAMIC);
  const flags = ['--strict', '--target', 'es2022', '--lib', 'es2023,dom', '--types', '', '--skipLibCheck'];
  await tsc('--ignoreConfig', ...flags, '--module', 'node16', '--moduleResolution', 'node16', 'typed.mts', 'typed.cts');
});

test('CommonJS requires the client, and imports its other entries', async () => {
  await writeFile(
    join(app, 'app.cjs'),
    `const { channelName, connect } = require('${NAME}');
    const { WebSocket } = require('ws');
    const main = async () => {
      const { useLive } = await import('${NAME}/react');
      const { snoCollectionOptions } = await import('${NAME}/tanstack');
      console.log(channelName('a:{x}', { x: 1 }), typeof useLive, typeof snoCollectionOptions);
      delete globalThis.WebSocket;
      try { connect('wss://never.test'); } catch ({ code }) { console.log(code); }
      const sno = connect(process.argv[2], { WebSocket });
      const tasks = sno.live('project:42');
      await tasks.ready;
      console.log(tasks.get(1).title);
      await sno.close();
    };
    void main();`,
  );
  const { url, certificate } = here.service;
  const printed = await run(process.execPath, ['app.cjs', url], { NODE_EXTRA_CA_CERTS: certificate.certFile });
  expect(printed).toBe('a:1 function function\nwebsocket_missing\nBuy paint\n');
});

test('a component shows its rows under jsdom, and the end of a client that CommonJS has loaded', async () => {
  await writeFile(
    join(app, 'jsdom.mjs'),
    `import { createRequire } from 'node:module';
    import { JSDOM } from 'jsdom';
    import { WebSocket } from 'ws';
    const { window } = new JSDOM('<div id=root></div>', { url: 'https://app.test' });
    for (const [name, value] of Object.entries({ window, document: window.document, navigator: window.navigator }))
      Object.defineProperty(globalThis, name, { value, configurable: true });
    const { createElement: h } = await import('react');
    const { createRoot } = await import('react-dom/client');
    const { connect } = await import('${NAME}');
    const { SnoProvider, useLive } = await import('${NAME}/react');
    const sno = connect(process.argv[2], { WebSocket, lazy: true });
    const Tasks = () => useLive('project:42').rows.map(({ title }) => title).join();
    const root = createRoot(document.querySelector('#root'));
    root.render(h(SnoProvider, { client: sno }, h(Tasks)));
    const shown = () => document.querySelector('#root').textContent;
    while (!shown().includes('Buy paint')) await new Promise((resolve) => setTimeout(resolve, 20));
    root.unmount();
    await sno.close();
    const twice = createRequire(import.meta.url)('${NAME}').connect(process.argv[2], { WebSocket });
    await twice.close();
    const Closed = () => useLive('project:42').status;
    createRoot(document.querySelector('#root')).render(h(SnoProvider, { client: twice }, h(Closed)));
    while (shown() !== 'closed') await new Promise((resolve) => setTimeout(resolve, 20));
    console.log('closed');
    process.exit();`,
  );
  const { url, certificate } = here.service;
  expect(await run(process.execPath, ['jsdom.mjs', url], { NODE_EXTRA_CA_CERTS: certificate.certFile })).toBe(
    'closed\n',
  );
});

test('the example names the packages that the tests use', async () => {
  const { devDependencies } = JSON.parse(await read('package.json'));
  const example = JSON.parse(await readFile(join(EXAMPLE, 'package.json'), 'utf8'));
  expect(example.dependencies.react).toBe(devDependencies.react);
  expect(example.dependencies[NAME]).toBe(JSON.parse(await read('package.json')).version);
  expect(await readdir(EXAMPLE)).toContain('schema.sql');
});
