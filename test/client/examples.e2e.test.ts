/** The examples, run as they stand. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, stage } from '../service/stage.ts';
import { plainEnvironment } from '../support/service.ts';

const SCHEMA = `
  create table tasks (id int primary key, project_id int not null, title text not null);
  alter table tasks replica identity full;
  insert into tasks values (1, 42, 'Paint'), (2, 42, 'Sand');
  create schema channels;
  create view channels."project:{project_id}" as select id, project_id, title from tasks;
`;

let here: Stage;
beforeAll(async () => {
  here = await stage(SCHEMA);
});
afterAll(() => here.end());

test('optimistic.mjs shows what was typed at once, and never the old value again', async () => {
  const file = fileURLToPath(new URL('../../examples/node/optimistic.mjs', import.meta.url));
  const { url, certificate } = here.service;
  const env = { ...plainEnvironment(), NODE_EXTRA_CA_CERTS: certificate.certFile };
  for (const [round, title] of ['Varnish', 'Polish', 'Wax'].entries()) {
    const { stdout } = await promisify(execFile)(process.execPath, [file, url, here.database.url, '42', '2', title], {
      env,
    });
    expect(stdout.trim().split('\n')).toEqual([
      `1 Paint, 2 ${['Sand', 'Varnish', 'Polish'][round]}`,
      `1 Paint, 2 ${title} (saving)`,
      `1 Paint, 2 ${title}`,
    ]);
  }
});
