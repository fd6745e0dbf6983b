/**
 * Snö pins some settings of all its sessions, whatever the URL, the role, the database, the server
 * or a pooler says.
 */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLogger } from '../../src/logger.ts';
import {
  createClient,
  createParsingPool,
  createPlainClient,
  createPool,
  createReplicationClient,
} from '../../src/postgres/connect.ts';
import { Listener } from '../../src/postgres/listener.ts';
import { PINNED, PLAIN, type SessionSettings } from '../../src/postgres/session-settings.ts';
import { freshDatabase, type TestDatabase, VERSIONS } from '../support/postgres.ts';
import { withoutParameter, withText } from '../support/startup-proxy.ts';

/** Another value for each pinned setting, and timeouts that would end Snö's work. */
const EVERY_HOSTILE: SessionSettings = {
  default_transaction_read_only: 'on',
  idle_session_timeout: '2s',
  jit: 'on',
  TimeZone: 'America/New_York',
  DateStyle: 'SQL, DMY',
  IntervalStyle: 'sql_standard',
  bytea_output: 'escape',
  extra_float_digits: '-15',
  lc_monetary: 'POSIX',
  lc_numeric: 'POSIX',
  lc_time: 'POSIX',
  xmloption: 'document',
  xmlbinary: 'hex',
  array_nulls: 'off',
  timezone_abbreviations: 'India',
  search_path: 'public, pg_catalog',
  standard_conforming_strings: 'off',
  quote_all_identifiers: 'on',
  transform_null_equals: 'on',
  row_security: 'off',
  default_transaction_isolation: 'serializable',
  default_transaction_deferrable: 'on',
  synchronous_commit: 'off',
  client_min_messages: 'debug5',
};
const TIMEOUTS: SessionSettings = {
  statement_timeout: '10s',
  lock_timeout: '10s',
  idle_in_transaction_session_timeout: '10s',
};

type Ask = <Row extends pg.QueryResultRow>(sql: string) => Promise<Row[]>;
type Work<T> = (ask: Ask, client: pg.ClientBase) => Promise<T>;

async function byClient<T>(client: pg.Client, work: Work<T>): Promise<T> {
  await client.connect();
  try {
    return await work(async (sql) => (await client.query(sql)).rows, client);
  } finally {
    await client.end();
  }
}

async function byPool<T>(pool: pg.Pool, work: Work<T>): Promise<T> {
  try {
    const client = await pool.connect();
    try {
      return await work(async (sql) => (await client.query(sql)).rows, client);
    } finally {
      client.release();
    }
  } finally {
    await pool.end();
  }
}

const SESSIONS: Readonly<Record<string, <T>(url: string, work: Work<T>) => Promise<T>>> = {
  client: (url, work) => byClient(createClient(url, 'test'), work),
  'replication client': (url, work) => byClient(createReplicationClient(url, 'test'), work),
  pool: (url, work) => byPool(createPool(url, 'test', 1), work),
  'parsing pool': (url, work) =>
    byPool(createParsingPool(url, 'test', 1, { statementMs: 20_000, timeoutMs: 25_000 }), work),
};
const KINDS = Object.keys(SESSIONS);

async function settingsOf(ask: Ask, wanted: SessionSettings): Promise<SessionSettings> {
  const names = Object.keys(wanted);
  const [row] = await ask<Record<string, string>>(
    `select ${names.map((name, index) => `current_setting('${name}') as s${index}`).join(', ')}`,
  );
  return Object.fromEntries(names.map((name, index) => [name, row?.[`s${index}`] as string]));
}

const withOptions = (url: string, options: string) => {
  const changed = new URL(url);
  changed.search = `?options=${encodeURIComponent(options)}`;
  return changed.href;
};

describe.each(VERSIONS)('Postgres %d', (version) => {
  // From 19 on, Postgres accepts no other value of standard_conforming_strings.
  const fixed: readonly string[] = version >= 19 ? ['standard_conforming_strings'] : [];
  const HOSTILE: SessionSettings = Object.fromEntries(
    Object.entries(EVERY_HOSTILE).filter(([name]) => !fixed.includes(name)),
  );
  let database: TestDatabase;
  const roles: string[] = [];
  beforeAll(async () => {
    database = await freshDatabase(version);
    const timeouts = version >= 17 ? { ...TIMEOUTS, transaction_timeout: '5s', wal_sender_timeout: '5ms' } : TIMEOUTS;
    for (const [name, value] of Object.entries({ ...HOSTILE, ...timeouts }))
      await database.query(
        `alter database ${database.name} set ${name} to ${name === 'DateStyle' || name === 'search_path' ? value : `'${value}'`}`,
      );
  });
  afterAll(async () => {
    await database.drop();
    const other = await freshDatabase(version);
    for (const role of roles) await other.query(`drop role ${role}`);
    await other.drop();
  });

  test('every pinned setting has a hostile value here', () => {
    const pinned = Object.keys(PINNED).filter((name) => name !== 'client_encoding' && !fixed.includes(name));
    expect(Object.keys(HOSTILE).sort()).toEqual(pinned.sort());
    for (const [name, value] of Object.entries(HOSTILE)) expect(value).not.toBe(PINNED[name]);
  });

  test.each(KINDS)('a %s has the pinned settings if the database has others', async (kind) => {
    const found = await SESSIONS[kind]?.(database.url, (ask) => settingsOf(ask, PINNED));
    expect(found).toEqual(PINNED);
  });

  test.each(KINDS)(
    'a %s has the pinned settings if the URL asks for others, and keeps the other options of the URL',
    async (kind) => {
      const options = Object.entries({ ...HOSTILE, application_name: 'of the URL', statement_timeout: '61000' })
        .map(([name, value]) => `-c ${name}=${value.replaceAll(' ', '\\ ')}`)
        .join(' ');
      const wanted = { ...PINNED, statement_timeout: kind === 'parsing pool' ? '20s' : '61s' };
      const found = await SESSIONS[kind]?.(withOptions(database.url, options), (ask) => settingsOf(ask, wanted));
      expect(found).toEqual(wanted);
    },
  );

  test.each(KINDS)(
    'a %s has the pinned settings after RESET ALL, and keeps them when the server reloads',
    async (kind) => {
      await SESSIONS[kind]?.(database.url, async (ask) => {
        await ask("set TimeZone = 'Asia/Tokyo'; set DateStyle = 'German'");
        await ask('reset all');
        await ask('select pg_reload_conf()');
        expect(await settingsOf(ask, PINNED)).toEqual(PINNED);
        if (kind !== 'replication client') await ask('discard all');
        expect(await settingsOf(ask, PINNED)).toEqual(PINNED);
      });
    },
  );

  test('PGOPTIONS is treated as options of the URL', async () => {
    process.env['PGOPTIONS'] = '-c TimeZone=Asia/Tokyo -c work_mem=5MB';
    try {
      const wanted = { ...PINNED, work_mem: '5MB' };
      expect(await byClient(createClient(database.url, 'test'), (ask) => settingsOf(ask, wanted))).toEqual(wanted);
    } finally {
      delete process.env['PGOPTIONS'];
    }
  });

  test("timeouts of the database do not apply to Snö's sessions", async () => {
    const own = { statement_timeout: '0', lock_timeout: '0', idle_in_transaction_session_timeout: '5min' };
    for (const kind of KINDS) {
      const wanted: SessionSettings = {
        ...own,
        ...(kind === 'parsing pool' ? { statement_timeout: '20s' } : {}),
        ...(version >= 17 ? { transaction_timeout: '0' } : {}),
        ...(version >= 17 && kind === 'replication client' ? { wal_sender_timeout: '2s' } : {}),
      };
      expect(await SESSIONS[kind]?.(database.url, (ask) => settingsOf(ask, wanted))).toEqual(wanted);
    }
  });

  test("a plain client has the settings that keep it alive, and prints values as the role's settings say", async () => {
    await byClient(createPlainClient(database.url, 'test'), async (ask) => {
      expect(await settingsOf(ask, PLAIN)).toEqual(PLAIN);
      const { TimeZone, search_path } = HOSTILE;
      expect(await settingsOf(ask, { TimeZone: '', search_path: '' })).toEqual({ TimeZone, search_path });
    });
  });

  test('an idle session stays open although the database ends idle ones', async () => {
    await byClient(createClient(database.url, 'test'), async (ask) => {
      const other = await database.connect();
      await new Promise((resolve) => other.once('end', resolve));
      expect(await ask('select 1 as one')).toEqual([{ one: '1' }]);
    });
  });

  test.each([...KINDS, 'plain client'])(
    'a %s whose options are dropped on the way is refused, and the error names the settings that differ',
    async (kind) => {
      const proxy = await withoutParameter(database.url, 'options');
      const open =
        SESSIONS[kind] ?? (<T>(url: string, work: Work<T>) => byClient(createPlainClient(url, 'test'), work));
      try {
        await expect(open(proxy.url, (ask) => ask('select'))).rejects.toMatchObject({
          code: 'session_settings',
          message: expect.stringMatching(
            /default_transaction_read_only is on, not off; idle_session_timeout is 2s, not 0/,
          ) as string,
          hint: expect.stringContaining('pooler') as string,
        });
      } finally {
        await proxy.close();
      }
    },
  );

  test('a replication client whose replication parameter is dropped on the way is refused', async () => {
    const proxy = await withoutParameter(database.url, 'replication');
    try {
      await expect(byClient(createReplicationClient(proxy.url, 'test'), (ask) => ask('select'))).rejects.toMatchObject({
        code: 'session_settings',
        message: expect.stringMatching(/client backend answers; a pooler/) as string,
      });
    } finally {
      await proxy.close();
    }
  });

  test('a session that does not listen after LISTEN is refused', async () => {
    const proxy = await withText(database.url, 'listen "sno"', 'select 12345');
    const listener = new Listener({
      url: proxy.url,
      channel: 'sno',
      logger: createLogger('silent'),
      onNotification: () => undefined,
      retryMs: () => 10,
    });
    try {
      await expect(listener.start()).rejects.toMatchObject({
        code: 'session_settings',
        message: expect.stringContaining('does not listen to sno') as string,
      });
    } finally {
      await listener.stop();
      await proxy.close();
    }
  });

  test('a connection beyond a limit of the role or the database is refused, and the error names the limit', async () => {
    const role = `limited_${database.name}`;
    roles.push(role);
    await database.query(
      `set default_transaction_read_only = off; create role ${role} login replication password 'p' connection limit 1`,
    );
    const url = new URL(database.url);
    url.username = role;
    url.password = 'p';
    await byClient(createClient(url.href, 'test'), async () => {
      for (const kind of ['client', 'pool'])
        await expect(SESSIONS[kind]?.(url.href, (ask) => ask('select'))).rejects.toMatchObject({
          code: 'connections_exhausted',
          message: expect.stringContaining(`the connection limit of the role ${role}`) as string,
          hint: expect.stringContaining(`alter role ${role} connection limit`) as string,
        });
    });
    await database.query(`alter role ${role} connection limit -1; alter database ${database.name} connection limit 0`);
    for (const kind of ['client', 'pool'])
      await expect(SESSIONS[kind]?.(url.href, (ask) => ask('select'))).rejects.toMatchObject({
        code: 'connections_exhausted',
        message: expect.stringContaining(`the connection limit of the database ${database.name}`) as string,
        hint: expect.stringContaining(`alter database ${database.name} connection limit`) as string,
      });
    await database.query(`alter database ${database.name} connection limit -1`);
  });
});
