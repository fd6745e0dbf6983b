/** The npm package, installed into a new app as a user does, with its engines enforced. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { plainEnvironment } from './support/service.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NAME = '@sno-realtime/sno';

let app: string;

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
  const [{ filename }] = JSON.parse(packed) as [{ filename: string }];
  // The optional Postgres for the demo is large, and has its own tests.
  const flags = ['--engine-strict', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund'];
  await run('npm', 'install', ...flags, `./${filename}`);
}, 300_000);
afterAll(() => rm(app, { recursive: true, force: true }));

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
