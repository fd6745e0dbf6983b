/** The npm package, installed into a new app as a user does, with its engines enforced. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from './support/free-port.ts';
import { freshDatabase } from './support/postgres.ts';
import { plainEnvironment } from './support/service.ts';
import { until } from './support/wait.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NAME = '@sno-realtime/sno';

let app: string;
let filename: string;
let files: readonly string[];

/** Runs a command in the app's folder. Rejects with its output if it fails. */
async function run(command: string, ...parameters: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, parameters, { cwd: app, env: plainEnvironment() });
  return stdout;
}

/** Type checks one file against the installed package. */
const typecheck = (file: string, module: string, moduleResolution: string): Promise<string> => {
  const options = { strict: true, noEmit: true, skipLibCheck: false, target: 'es2023', types: '' };
  const flags = Object.entries({ ...options, module, moduleResolution, lib: 'es2023,dom' });
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  return run(process.execPath, tsc, ...flags.flatMap(([name, value]) => [`--${name}`, String(value)]), file);
};

beforeAll(async () => {
  app = await mkdtemp(join(tmpdir(), 'sno-app-'));
  await writeFile(join(app, 'package.json'), '{"name":"app","private":true}');
  // `npm test` has built the package.
  const packed = await run('npm', 'pack', ROOT, '--ignore-scripts', '--json', '--pack-destination', app);
  const [pack] = JSON.parse(packed) as [{ filename: string; files: readonly { path: string }[] }];
  filename = pack.filename;
  files = pack.files.map(({ path }) => path);
  // The optional Postgres for the demo is large, and has its own tests.
  const flags = ['--engine-strict', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund'];
  await run('npm', 'install', ...flags, `./${filename}`);
}, 300_000);
afterAll(() => rm(app, { recursive: true, force: true }));

test('has what it runs and nothing else, under the name that the pages install', async () => {
  const tops = new Set(files.map((path) => path.split('/', 1)[0]));
  expect([...tops].toSorted()).toEqual(['LICENSE', 'README.md', 'client', 'dist', 'package.json', 'sql']);
  for (const page of ['README.md', 'docs/howto/install.md'])
    expect(await readFile(join(ROOT, page), 'utf8')).toContain(`npm install ../sno/${filename}`);
});

test('runs in an empty folder: set-up, server and a client', async () => {
  const database = await freshDatabase();
  await database.query('create table notes (id int primary key); insert into notes values (7)');
  const env = { ...plainEnvironment(), SNO_DATABASE_URL: database.url, SNO_SLOT: database.name, SNO_ACCESS: 'open' };
  const [port, adminPort] = [await freePort(), await freePort()];
  const settings = { ...env, SNO_PORT: String(port), SNO_ADMIN_PORT: String(adminPort), SNO_DRAIN_SECONDS: '0' };
  const sno = (...command: readonly string[]) =>
    spawn(join(app, 'node_modules/.bin/sno'), command, {
      cwd: app,
      env: settings,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  const setup = sno('setup', '--apply');
  expect(await once(setup, 'exit')).toEqual([0, null]);
  await database.query('create view channels.notes as select id from notes');
  const server = sno('start');
  let log = '';
  server.stdout.on('data', (data: Buffer) => (log += data));
  try {
    await until(() => log.includes('"serving"'), 'it serves');
    await writeFile(
      join(app, 'live.mjs'),
      `import { connect } from '${NAME}/client';
      import { WebSocket } from 'ws';
      const sno = connect('http://127.0.0.1:${port}', { WebSocket });
      const notes = sno.live('notes');
      await notes.ready;
      console.log(JSON.stringify(notes.rows));
      await sno.close();`,
    );
    expect(await run(process.execPath, 'live.mjs')).toBe('[{"id":7}]\n');
  } finally {
    server.kill('SIGTERM');
    await once(server, 'exit');
    await database.drop();
  }
});

test('runs no scripts when it is installed', async () => {
  const { scripts } = JSON.parse(await readFile(join(app, 'node_modules', NAME, 'package.json'), 'utf8'));
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare']) expect(scripts).not.toHaveProperty(name);
});

test('provides the command line', async () => {
  expect(await run('npx', '--no', 'sno', 'help')).toContain('Usage: sno COMMAND');
});

test.each([
  ['app.mjs', `import { channelName } from '${NAME}/client'; console.log(channelName('a:{x}', { x: 1 }));`],
  ['app.cjs', `const { channelName } = require('${NAME}/client'); console.log(channelName('a:{x}', { x: 1 }));`],
])('%s can import the client', async (file, code) => {
  await writeFile(join(app, file), code);
  expect(await run(process.execPath, file)).toBe('a:1\n');
});

test('has the entries for TanStack DB and React, which need only these packages beside them', async () => {
  await writeFile(
    join(app, 'tanstack.mjs'),
    `console.log(typeof (await import('${NAME}/tanstack')).snoCollectionOptions);`,
  );
  expect(await run(process.execPath, 'tanstack.mjs')).toBe('function\n');
  // React is an optional peer, so it was not installed.
  const react = run(process.execPath, '--input-type=module', '-e', `await import('${NAME}/react')`);
  await expect(react).rejects.toThrow("Cannot find package 'react'");
  expect(files.filter((path) => path.startsWith('dist/packages/'))).toEqual([]);
});

test('tools without support for `exports` find the client and its types by a folder', async () => {
  const folder = join(app, 'node_modules', NAME, 'client');
  const { types, module } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  for (const file of [types, module]) expect(await readFile(join(folder, file), 'utf8')).toContain('connect');
  await writeFile(join(app, 'folder.cjs'), `console.log(typeof require(${JSON.stringify(folder)}).connect);`);
  expect(await run(process.execPath, 'folder.cjs')).toBe('function\n');
});

test('tools may read package.json', async () => {
  await writeFile(join(app, 'manifest.cjs'), `console.log(require('${NAME}/package.json').name);`);
  expect(await run(process.execPath, 'manifest.cjs')).toBe(`${NAME}\n`);
});

const TYPED = `import { connect, type LiveView } from '${NAME}/client';
export const view: LiveView<{ id: number }> = connect('wss://sno.example.com').live('project:42');
// @ts-expect-error
export const wrong: number = view.get(7);`;

test.each([
  ['esm.mts', 'nodenext', 'nodenext'],
  ['cjs.cts', 'nodenext', 'nodenext'],
  ['bundled.ts', 'esnext', 'bundler'],
])('%s has the types of the client (module %s, resolution %s)', async (file, module, resolution) => {
  await writeFile(join(app, file), TYPED);
  expect(await typecheck(file, module, resolution)).toBe('');
});
