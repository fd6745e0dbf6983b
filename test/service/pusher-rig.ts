/**
 * Pusher's own libraries, unmodified, and a service with workers for them. The rig holds what each
 * client has received.
 */
import { createRequire } from 'node:module';
import type { ServerKind } from '../support/postgres.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null, size numeric, doc json);
  alter table notes replica identity full;
  create table members (room text, sub text, primary key (room, sub));
  create schema channels;
  create view channels."room:{room}" as select id, room, body, size, doc from notes;
  create view channel_access."room:{room}" as select room, sub from members;
  create view channel_access."server-to-user-{id}" as select sub as id from members;
  create view channel_access."open:{room}" as select room from members where sub = 'everybody';
  create schema channel_presence;
  create schema channel_send;
  create view channel_presence."room:{room}" as select room, sub, upper(sub) as name from members;
  create view channel_send."room:{room}" as select room, sub from members;
  insert into members select 'r' || n, sub from generate_series(1, 5) n, unnest('{ada,everybody}'::text[]) sub;
`;
export const APP = { id: '1001', key: 'app-key', secret: 'app-secret' };
const SETTINGS = {
  SNO_ACCESS: 'views',
  SNO_PRESENCE_GRACE_SECONDS: '0',
  SNO_TLS_CERT: '',
  SNO_TLS_KEY: '',
  SNO_WORKERS: '2',
  SNO_PUSHER_APP_ID: APP.id,
  SNO_PUSHER_KEY: APP.key,
  SNO_PUSHER_SECRET: APP.secret,
};

// The packages' own types ask for the libraries of a browser.
export const load = createRequire(import.meta.url);
export interface JsChannel {
  readonly subscribed: boolean;
  bind(event: string, heard: (data: never) => void): JsChannel;
  bind_global(heard: (event: string, data: never) => void): JsChannel;
  trigger(event: string, data: unknown): boolean;
  readonly members: {
    readonly count: number;
    readonly myID: string;
    get(id: string): { readonly info: unknown } | null;
  };
}
export interface JsPusher {
  readonly connection: {
    readonly state: string;
    readonly socket_id: string;
    bind(event: string, heard: (data: never) => void): void;
  };
  subscribe(channel: string): JsChannel;
  unsubscribe(channel: string): void;
  signin(): void;
  readonly user: { bind(event: string, heard: (data: never) => void): void };
  connect(): void;
  disconnect(): void;
}
export type PusherOptions = Readonly<Record<string, unknown>>;
export const PusherJs = load('pusher-js') as new (key: string, options: PusherOptions) => JsPusher;
const ECHO: string = 'laravel-echo';
export const { default: Echo } = (await import(ECHO)) as { default: new (options: PusherOptions) => EchoClient };
interface EchoChannel {
  listen(event: string, heard: (data: never) => void): EchoChannel;
  subscribed(heard: () => void): EchoChannel;
}
export interface EchoClient {
  channel(name: string): EchoChannel;
  private(name: string): EchoChannel;
  disconnect(): void;
}
const PusherServer = load('pusher') as new (
  options: object,
) => {
  trigger(
    channels: string | string[],
    event: string,
    data: unknown,
    params?: object,
  ): Promise<{ readonly status: number; json(): Promise<unknown> }>;
  get(request: { path: string; params: object }): Promise<{ json(): Promise<unknown> }>;
  triggerBatch(batch: readonly object[]): Promise<{ readonly status: number; json(): Promise<unknown> }>;
  sendToUser(user: string, event: string, data: unknown): Promise<{ readonly status: number }>;
  terminateUserConnections(user: string): Promise<{ readonly status: number }>;
  authorizeChannel(socketId: string, channel: string, data?: object): { readonly auth: string };
};

/** What a client holds of a channel, and the events that it received. */
export class Held {
  readonly rows = new Map<number, unknown>();
  readonly events: string[] = [];
  readonly data: unknown[] = [];

  apply(event: string, data: unknown): void {
    this.events.push(event);
    this.data.push(data);
    const {
      rows = [],
      part,
      key,
      data: row,
    } = (data ?? {}) as {
      rows?: { key: { id: number }; data: unknown }[];
      part?: number;
      key?: { id: number };
      data?: unknown;
    };
    if (event === 'truncate' || event === 'pusher:cache_miss' || (event === 'snapshot' && part === 1))
      this.rows.clear();
    if (event === 'snapshot') for (const each of rows) this.rows.set(each.key.id, each.data);
    if (event === 'insert' || event === 'update') this.rows.set(key?.id as number, row);
    if (event === 'delete') this.rows.delete(key?.id as number);
  }

  get all(): unknown[] {
    return [...this.rows].sort(([a], [b]) => a - b).map(([, row]) => row);
  }
}

export class PusherRig {
  readonly stage: Stage;
  /** A token of ada, who is a member of all rooms. */
  readonly token: string;
  readonly #ended: (() => void)[] = [];

  private constructor(here: Stage, token: string) {
    this.stage = here;
    this.token = token;
  }

  static async start(version: ServerKind): Promise<PusherRig> {
    return new PusherRig(await stage(SCHEMA, SETTINGS, version), await signToken({ sub: 'ada' }));
  }

  get port(): number {
    return this.stage.service.port;
  }

  /** `end` is called after the test. */
  atEnd(end: () => void): void {
    this.#ended.push(end);
  }

  /** Disconnects the clients of a test. */
  clear(): void {
    for (const end of this.#ended.splice(0)) end();
  }

  options(more: PusherOptions = {}): PusherOptions {
    return {
      cluster: '',
      wsHost: '127.0.0.1',
      wsPort: this.port,
      forceTLS: false,
      enabledTransports: ['ws'],
      disableStats: true,
      channelAuthorization: {
        customHandler: (_asked: unknown, answer: (error: null, data: object) => void) =>
          answer(null, { auth: `jwt:${this.token}` }),
      },
      ...more,
    };
  }

  connect(more?: PusherOptions): JsPusher {
    const pusher = new PusherJs(APP.key, this.options(more));
    this.atEnd(() => pusher.disconnect());
    return pusher;
  }

  insert(id: number, room: string, body = 'text'): Promise<unknown> {
    return this.stage.query('insert into notes values ($1, $2, $3)', [id, room, body]);
  }

  /** The library of the app's server. */
  server() {
    return new PusherServer({
      appId: APP.id,
      key: APP.key,
      secret: APP.secret,
      host: '127.0.0.1',
      port: String(this.port),
      useTLS: false,
    });
  }
}

/** Subscribes, and returns what the client holds of the channel from now on. */
export function hold(pusher: JsPusher, name: string): Held {
  const held = new Held();
  pusher.subscribe(name).bind_global((event, data) => held.apply(event, data));
  return held;
}

export const joined = (held: Held) => until(() => held.events.includes('pusher:subscription_succeeded'), 'subscribed');
