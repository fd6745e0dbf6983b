/** Runs the examples unchanged. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, stage } from '../service/stage.ts';
import { plainEnvironment } from '../support/service.ts';
import { until } from '../support/wait.ts';

const exampleOf = (name: string): string => fileURLToPath(new URL(`../../examples/node/${name}.mjs`, import.meta.url));
const FILE = exampleOf('optimistic');
/** The SQL in the example's comment. */
const SCHEMA = [...readFileSync(FILE, 'utf8').matchAll(/^\/\/ {5}((?:create|alter) .*;)$/gm)].map(([, sql]) => sql);

let here: Stage;
beforeAll(async () => {
  const rows = "insert into tasks values (1, 42, 'Paint'), (2, 42, 'Sand')";
  here = await stage(['create schema channels;', ...SCHEMA, rows].join('\n'), { SNO_ACCESS: 'views' });
});
afterAll(() => here.end());

test('optimistic.mjs shows typed text at once, and never the old value again', async () => {
  const { url, certificate } = here.service;
  const env = { ...plainEnvironment(), NODE_EXTRA_CA_CERTS: certificate.certFile };
  for (const [round, title] of ['Varnish', 'Polish', 'Wax'].entries()) {
    const { stdout } = await promisify(execFile)(process.execPath, [FILE, url, here.database.url, '42', '2', title], {
      env,
    });
    expect(stdout.trim().split('\n')).toEqual([
      `1 Paint, 2 ${['Sand', 'Varnish', 'Polish'][round]}`,
      `1 Paint, 2 ${title} (saving)`,
      `1 Paint, 2 ${title}`,
    ]);
  }
});

test('tail.mjs, killed at any moment, continues where it stopped', async () => {
  const { url, certificate } = here.service;
  const env = { ...plainEnvironment(), NODE_EXTRA_CA_CERTS: certificate.certFile };
  const folder = await mkdtemp(join(tmpdir(), 'sno-tail-'));
  const stored = () => readFile(join(folder, 'project%3A42.position'), 'utf8').catch(() => '');
  let child: ChildProcess | undefined;
  let [printed, told] = ['', ''];
  const run = () => {
    child = spawn(process.execPath, [exampleOf('tail'), url, 'project:42'], { cwd: folder, env });
    child.stdout?.on('data', (text: Buffer) => (printed += text));
    child.stderr?.on('data', (text: Buffer) => (told += text));
  };
  const kill = async () => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  try {
    run();
    await until(stored, 'a position');
    await kill();
    await here.query("update tasks set title = 'while away' where id = 1");
    run();
    await until(() => printed.includes('while away'), 'the commit of meanwhile');
    await kill();
    expect(told).not.toContain('missing');
  } finally {
    await kill();
    await rm(folder, { recursive: true });
  }
});
