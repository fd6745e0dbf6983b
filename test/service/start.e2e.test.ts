/**
 * Starts that cannot succeed: each prints its code and what to do, and exits; no process is left
 * running.
 */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sno } from '../cli/run.ts';
import { freshDatabase, NEWEST, ownServer, type TestDatabase } from '../support/postgres.ts';
import { type Certificate, selfSigned } from '../support/tls.ts';

let database: TestDatabase;
let certificate: Certificate;
let other: Certificate;

beforeAll(async () => {
  database = await freshDatabase();
  [certificate, other] = await Promise.all([selfSigned(), selfSigned()]);
});
afterAll(async () => {
  await Promise.all([certificate.remove(), other.remove(), database.drop()]);
});

const start = (settings: Readonly<Record<string, string>>) =>
  sno(['start'], {
    SNO_DATABASE_URL: database.url,
    SNO_SLOT: database.name,
    SNO_PORT: '0',
    SNO_ADMIN_PORT: '0',
    SNO_TLS_CERT: certificate.certFile,
    SNO_TLS_KEY: certificate.keyFile,
    ...settings,
  });

const withUser = (user: string, password: string) => {
  const url = new URL(database.url);
  url.username = user;
  url.password = password;
  return url.href;
};

/** The end of standard error: code, what happened, and at least one line that says what to do. */
async function expectRefusal(settings: Readonly<Record<string, string>>, code: string, what: RegExp, hint: RegExp) {
  const result = await start(settings);
  const [, gotCode, message, mended] = /^sno: (\w+): (.*)\n((?: {2}.*\n?|\n)+)$/m.exec(result.stderr) ?? [];
  expect({ code: gotCode, exit: result.code }).toEqual({ code, exit: 1 });
  expect(message).toMatch(what);
  expect(mended).toMatch(hint);
  expect(result.stdout).not.toContain('"msg":"serving"');
}

/** The start failed before it created a slot. */
async function expectUntouched(): Promise<void> {
  const { rows } = await database.query(
    'select count(*)::int as slots from pg_replication_slots where slot_name = $1',
    [database.name],
  );
  expect(rows).toEqual([{ slots: 0 }]);
}

async function withTakenPort(work: (port: string) => Promise<void>): Promise<void> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  try {
    await work(String((listener.address() as AddressInfo).port));
  } finally {
    listener.close();
  }
}

test('a wrong password ends the start', async () => {
  const settings = { SNO_DATABASE_URL: withUser('postgres', 'wrong') };
  await expectRefusal(settings, 'database_unreachable', /password authentication failed/, /SNO_DATABASE_URL/);
});

test('a role that may not replicate ends the start', async () => {
  const role = `plain_${database.name}`;
  await database.query(`create role ${role} login password 'p'; grant create on database ${database.name} to ${role}`);
  try {
    const settings = { SNO_DATABASE_URL: withUser(role, 'p') };
    await expectRefusal(settings, 'missing_privilege', /may replicate/, new RegExp(`alter role ${role} replication;`));
  } finally {
    await database.query(`drop owned by ${role} cascade; drop role ${role}`);
  }
});

test('a slot of another database ends the start', async () => {
  const foreign = await freshDatabase();
  try {
    await foreign.query("select pg_create_logical_replication_slot($1, 'pgoutput')", [foreign.name]);
    await expectRefusal({ SNO_SLOT: foreign.name }, 'slot_mismatch', /of another database/, /SNO_SLOT/);
  } finally {
    await foreign.drop();
  }
});

test('a port that is in use ends the start', async () => {
  await withTakenPort(async (port) => {
    await expectRefusal({ SNO_PORT: port }, 'address_in_use', new RegExp(`:${port} is already in use`), /SNO_PORT/);
    const byWorkers = { SNO_PORT: port, SNO_WORKERS: '2' };
    await expectRefusal(byWorkers, 'address_in_use', new RegExp(`:${port} is already in use`), /SNO_PORT/);
    await expectRefusal({ SNO_ADMIN_PORT: port }, 'address_in_use', /SNO_ADMIN_PORT/, /SNO_ADMIN_PORT/);
    await expectUntouched();
  });
});

describe('the start ends at a certificate', () => {
  test('that does not exist', async () => {
    await expectRefusal({ SNO_TLS_CERT: '/nowhere/cert.pem' }, 'tls_invalid', /\/nowhere\/cert\.pem/, /SNO_TLS_CERT/);
  });

  test('that does not match its key', async () => {
    await expectRefusal({ SNO_TLS_KEY: other.keyFile }, 'tls_invalid', /./, /SNO_TLS_KEY/);
  });

  test('that is not PEM', async () => {
    const file = `${certificate.certFile}.txt`;
    await writeFile(file, 'rubbish');
    await expectRefusal({ SNO_TLS_CERT: file }, 'tls_invalid', /./, /SNO_TLS_CERT/);
    await expectUntouched();
  });
});

test('rules that fail leave nothing in the database', async () => {
  const folder = await mkdtemp(`${certificate.certFile}-rules-`);
  await writeFile(`${folder}/1.sql`, 'create table from_the_rules (id int primary key);');
  await writeFile(`${folder}/2.sql`, 'create view channels."x:{id}" as\nselect id from no_such_table;');
  try {
    await expectRefusal({ SNO_RULES: folder }, 'rules_failed', /2\.sql:2:\d+/, /./);
    const { rows } = await database.query("select to_regclass('from_the_rules') as made");
    expect(rows).toEqual([{ made: null }]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a server whose wal_level is too low ends the start', async () => {
  const tooLow: Record<string, string> =
    NEWEST >= 19 ? { wal_level: 'minimal', max_wal_senders: '0' } : { wal_level: 'replica' };
  const server = await ownServer({ settings: tooLow });
  try {
    const settings = { SNO_DATABASE_URL: server.url() };
    await expectRefusal(settings, 'wal_level_not_logical', /wal_level/, /alter system set wal_level = 'logical'/);
  } finally {
    await server.stop('immediate');
  }
});
