/** A service in this process, on a database with views that join, and clients that follow them. */
import { vi } from 'vitest';
import { WebSocket } from 'ws';
import { RemoteAsker } from '../../src/channels/remote/ask.ts';
import { connect, type LiveView, type SnoClient } from '../../src/client/index.ts';
import { readSettings } from '../../src/config/read.ts';
import { createLogger } from '../../src/logger.ts';
import { type Service, startService } from '../../src/main.ts';
import type { TestDatabase } from '../support/postgres.ts';
import { setUpFor } from '../support/service-role.ts';
import { until } from '../support/wait.ts';

type Data = Readonly<Record<string, unknown>>;

/** What a client has held of a channel: after each commit, by its transaction. */
export class Follower {
  readonly channel: string;
  readonly states: { readonly xid: number; readonly rows: string }[] = [];
  readonly resets: string[] = [];
  readonly view: LiveView<Data>;

  constructor(client: SnoClient, channel: string) {
    this.channel = channel;
    this.view = client.live<Data>(channel);
    this.view.subscribe(({ reason, commit }) => {
      if (reason === 'commit' && commit !== undefined) this.states.push({ xid: commit.xid ?? 0, rows: this.rows });
      else if (reason === 'snapshot') this.states.push({ xid: 0, rows: this.rows });
    });
  }

  get rows(): string {
    return shown(this.view.rows);
  }
}

/** Rows as one text, in an order of their own. */
export function shown(rows: readonly unknown[]): string {
  return rows
    .map((row) => JSON.stringify(row))
    .sort()
    .join('\n');
}

export interface World {
  readonly service: Service;
  readonly log: readonly string[];
  /** `alone`: over a connection of its own. */
  follow(channel: string, alone?: boolean): Follower;
  /** How often the subscribers of a view that joins were reset, whatever the reason. */
  joinResets(): Promise<number>;
  end(): Promise<void>;
}

export async function world(
  database: Pick<TestDatabase, 'url' | 'name'>,
  settings: Readonly<Record<string, string>> = {},
): Promise<World> {
  const log: string[] = [];
  const logger = createLogger('info', { write: (line: string) => void log.push(line) });
  const url = await setUpFor(database.url, 'sno');
  const service = await startService(
    readSettings({
      SNO_DATABASE_URL: url,
      SNO_PORT: '0',
      SNO_ADMIN_PORT: '0',
      SNO_ACCESS: 'open',
      SNO_SLOT: database.name,
      SNO_DRAIN_SECONDS: '0',
      ...settings,
    }),
    logger,
  );
  const clients: SnoClient[] = [];
  return {
    service,
    log,
    follow(channel, alone = false) {
      if (alone || clients.length === 0) clients.unshift(connect(`ws://127.0.0.1:${service.port}/v1`, { WebSocket }));
      return new Follower(clients[0] as SnoClient, channel);
    },
    async joinResets() {
      const text = await (await fetch(`http://127.0.0.1:${service.adminPort}/metrics`)).text();
      const counts = text.matchAll(/^sno_join_resets_total\{.*\} (\d+)$/gm);
      return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
    },
    async end() {
      for (const client of clients) await client.close();
      await service.stop();
    },
  };
}

/** Resolves when Postgres has sent everything that was committed before to the service. */
export async function sent(database: TestDatabase): Promise<void> {
  const { rows } = await database.query<{ lsn: string }>('select pg_current_wal_lsn() as lsn');
  const behind = `select from pg_stat_replication join pg_replication_slots on active_pid = pid
    where slot_name = '${database.name}' and sent_lsn < '${rows[0]?.lsn}'`;
  await until(async () => (await database.query(behind)).rowCount === 0, 'everything was sent');
}

/** Questions to Postgres wait until `open` is called. The test restores all mocks. */
export function holdQuestions() {
  const ask = RemoteAsker.prototype.ask;
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const asked = vi.spyOn(RemoteAsker.prototype, 'ask').mockImplementation(async function (this: RemoteAsker, ...args) {
    await opened;
    return ask.apply(this, args);
  });
  return { asked, open };
}
