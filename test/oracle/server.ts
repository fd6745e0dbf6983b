/**
 * A Postgres server of its own, which can be killed with all its processes, and can have a standby
 * that takes over.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { appendFile, chown, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import type { EmbeddedPostgres } from '../../src/postgres/embedded.ts';
import { ownServer, type Version } from '../support/own-server.ts';
import { until } from '../support/wait.ts';

const run = promisify(execFile);

const SETTINGS = {
  // a walsender without a client must release the slot soon
  wal_sender_timeout: '5s',
  max_wal_size: '1GB',
};
const PHYSICAL_SLOT = 'standby';
const FAILOVER_SLOTS_FROM = 17;
/**
 * A setting that only a primary with a standby may have. The standby copies it, and must lose it
 * when it is promoted.
 */
const PRIMARY_ONLY = 'synchronized_standby_slots';

export class DatabaseServer {
  readonly version: Version;
  readonly #server: EmbeddedPostgres;
  /** A standby has the password of the server that it was copied from. */
  readonly #url: string;

  private constructor(server: EmbeddedPostgres, version: Version, url = server.url()) {
    this.#server = server;
    this.version = version;
    this.#url = url;
  }

  static async start(version: Version, settings: Readonly<Record<string, string>> = {}): Promise<DatabaseServer> {
    return new DatabaseServer(await ownServer({ version, settings: { ...SETTINGS, ...settings } }), version);
  }

  /** Allows hosts of these networks to connect. */
  async admit(networks: readonly string[]): Promise<void> {
    const lines = networks.flatMap((network) =>
      ['all', 'replication'].map((database) => `host ${database} all ${network} scram-sha-256\n`),
    );
    await appendFile(join(this.#server.dataDirectory, 'pg_hba.conf'), lines.join(''));
    await this.query('select pg_reload_conf()');
  }

  get isRunning(): boolean {
    return this.#server.pid !== undefined;
  }

  get port(): number {
    return this.#server.port;
  }

  /** URL of a superuser, to the server itself, through a proxy on another port, or from a host. */
  url(port = this.port, address?: string): string {
    const url = new URL(this.#url);
    url.port = String(port);
    if (address !== undefined) url.hostname = address;
    return url.href;
  }

  async connect(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.url(), connectionTimeoutMillis: 10_000 });
    // after the connection ends, its next query fails
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** Each query has its own connection. */
  async query<Row extends pg.QueryResultRow = Record<string, unknown>>(sql: string, params?: readonly unknown[]) {
    const client = await this.connect();
    try {
      return await client.query<Row>(sql, params as unknown[]);
    } finally {
      await client.end();
    }
  }

  /** Changes a setting of the running server. */
  async set(name: string, value: string): Promise<void> {
    await this.query(`alter system set ${name} = '${value}'`);
    await this.query('select pg_reload_conf()');
  }

  /** Resets a setting that `set` changed, or `all`. */
  async reset(name: string): Promise<void> {
    await this.query(`alter system reset ${name}`);
    await this.query('select pg_reload_conf()');
  }

  /** Kills the postmaster and all its children with `kill -9`. */
  async kill(): Promise<void> {
    const { pid } = this.#server;
    if (pid === undefined) return;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
    await this.#server.kill('SIGKILL');
    for (const child of children) {
      try {
        process.kill(Number(child), 'SIGKILL');
      } catch {
        // the process has already ended
      }
    }
  }

  start(): Promise<void> {
    return this.#server.restart();
  }

  stop(): Promise<void> {
    return this.#server.stop('immediate');
  }

  /** Creates a standby that follows. From Postgres 17 on, failover slots are copied to it. */
  async makeStandby(): Promise<DatabaseServer> {
    const standby = await ownServer({ version: this.version, settings: SETTINGS });
    await standby.kill('SIGINT');
    // The standby streams the WAL that its copy lacks. A slot retains this WAL, and is lost with
    // this primary. A setting (wal_keep_size) would be copied to the standby.
    await this.query(`select pg_create_physical_replication_slot('${PHYSICAL_SLOT}', true)`);
    await this.#copyTo(standby.dataDirectory);
    const hasFailoverSlots = this.version >= FAILOVER_SLOTS_FROM;
    // Then decoded commits have reached the standby.
    if (hasFailoverSlots) await this.set(PRIMARY_ONLY, PHYSICAL_SLOT);
    const { username, password, hostname, pathname } = new URL(this.url());
    const conninfo = `host=${hostname} port=${this.port} user=${username} password=${password} dbname=${pathname.slice(1)}`;
    const started = standby.restart({
      primary_conninfo: conninfo,
      primary_slot_name: PHYSICAL_SLOT,
      hot_standby: 'on',
      ...(hasFailoverSlots && { hot_standby_feedback: 'on', sync_replication_slots: 'on' }),
    });
    // `restart` counts it as ready only once it accepts writes
    started.catch(() => undefined);
    const url = new URL(this.url());
    url.port = String(standby.port);
    const server = new DatabaseServer(standby, this.version, url.href);
    await until(
      async () =>
        (
          await server.query<{ follows: boolean }>(
            "select exists (select from pg_stat_wal_receiver where status = 'streaming') as follows",
          )
        ).rows[0]?.follows,
      'the standby follows',
      60_000,
    );
    return server;
  }

  /** Whether this standby has the slot, ready to be used after a promotion. */
  async hasSlot(slot: string): Promise<boolean> {
    const { rowCount } = await this.query(
      "select from pg_replication_slots s where slot_name = $1 and to_jsonb(s) ->> 'synced' = 'true' and not temporary",
      [slot],
    );
    return rowCount === 1;
  }

  /**
   * Promotes the standby. Resolves with the LSN where its history forked from the old primary's.
   */
  async promote(): Promise<string> {
    await this.query('select pg_promote()');
    if (this.version >= FAILOVER_SLOTS_FROM) await this.reset(PRIMARY_ONLY);
    const { rows } = await this.query<{ history: string }>(
      `select pg_read_file('pg_wal/' || name) as history from pg_ls_dir('pg_wal') name where name like '%.history' order by name desc limit 1`,
    );
    const line = (rows[0]?.history ?? '').trim().split('\n').at(-1) ?? '';
    return line.split('\t')[1] as string;
  }

  /** Makes a base backup without pg_basebackup, with all existing WAL. */
  async #copyTo(directory: string): Promise<void> {
    const client = await this.connect();
    try {
      const from = this.#server.dataDirectory;
      const { uid, gid } = await stat(from);
      await client.query("select pg_backup_start('standby', true)");
      await rm(directory, { recursive: true });
      // files that disappear meanwhile are no error
      await run('cp', ['-a', from, directory]).catch(() => undefined);
      const { rows } = await client.query<{ label: string }>('select labelfile as label from pg_backup_stop(false)');
      for (const file of ['postmaster.pid', 'postmaster.opts', 'pg_replslot', 'pg_wal/archive_status'])
        await rm(join(directory, file), { recursive: true, force: true });
      await run('mkdir', ['-p', join(directory, 'pg_replslot'), join(directory, 'pg_wal/archive_status')]);
      const files: readonly (readonly [string, string])[] = [
        ['backup_label', rows[0]?.label ?? ''],
        ['standby.signal', ''],
      ];
      for (const [name, content] of files) await writeFile(join(directory, name), content);
      for (const name of ['backup_label', 'standby.signal', 'pg_replslot', 'pg_wal/archive_status'])
        await chown(join(directory, name), uid, gid);
      await run('chmod', ['700', join(directory, 'pg_replslot'), join(directory, 'pg_wal/archive_status')]);
    } finally {
      await client.end();
    }
  }
}
