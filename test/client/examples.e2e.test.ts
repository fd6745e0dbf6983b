/** The examples, run as they stand. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, stage } from '../service/stage.ts';
import { plainEnvironment } from '../support/service.ts';

const FILE = fileURLToPath(new URL('../../examples/node/optimistic.mjs', import.meta.url));
/** The SQL in its comment. */
const SCHEMA = [...readFileSync(FILE, 'utf8').matchAll(/^\/\/ {5}((?:create|alter) .*;)$/gm)].map(([, sql]) => sql);

let here: Stage;
beforeAll(async () => {
  const rows = "insert into tasks values (1, 42, 'Paint'), (2, 42, 'Sand')";
  here = await stage(['create schema channels;', ...SCHEMA, rows].join('\n'), { SNO_ACCESS: 'views' });
});
afterAll(() => here.end());

test('optimistic.mjs shows what was typed at once, and never the old value again', async () => {
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
