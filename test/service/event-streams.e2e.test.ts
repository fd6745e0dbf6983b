/**
 * Event streams (server-sent events) of a real service: curl, the package `eventsource`, a
 * browser's EventSource, and a client that is cut again and again.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { Agent, createServer, request, type Server } from 'node:https';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchBrowser } from '../support/browser.ts';
import { EventClient, type StreamEvent } from '../support/event-client.ts';
import { freePort } from '../support/free-port.ts';
import { NEWEST } from '../support/postgres.ts';
import { signToken } from '../support/service.ts';
import { until } from '../support/wait.ts';
import { readMetric, type Stage, stage } from './stage.ts';

const SCHEMA = `
  create table notes (id int primary key, room text not null, body text not null, doc json);
  alter table notes replica identity full;
  create table members (room text, sub text, primary key (room, sub));
  create schema channels;
  create view channels."room:{room}" as select id, room, body, doc from notes;
  create view channel_access."room:{room}" as select room, sub from members;
  insert into members select 'r' || n, 'ada' from generate_series(1, 5) n;
`;

/** The package's own types ask for the libraries of a browser. */
const PACKAGE: string = 'eventsource';
const { EventSource } = (await import(PACKAGE)) as {
  readonly EventSource: {
    readonly CLOSED: number;
    new (
      url: string,
      options: { readonly fetch: FetchLike },
    ): EventTarget & { readonly readyState: number; close(): void };
  };
};
type FetchLike = (
  url: string | URL,
  init: { readonly headers: Record<string, string>; readonly signal?: AbortSignal },
) => Promise<object>;

const SETTINGS = { SNO_ACCESS: 'views', SNO_COMMIT_BYTES: '20kB' };

/** What a client holds: the rows of each channel by their keys. */
class Rows {
  readonly byChannel = new Map<string, Map<unknown, unknown>>();
  /** Position of each whole change, to notice duplicates. */
  readonly seen: string[] = [];
  #parts = new Map<string, StreamEvent[]>();

  apply(event: StreamEvent): void {
    const { channel = '', type } = event;
    const rows = this.byChannel.get(channel) ?? new Map<unknown, unknown>();
    this.byChannel.set(channel, rows);
    if (type === 'snapshot') {
      if (event.part === 1) rows.clear();
      for (const { key, data } of event.rows ?? []) rows.set(key['id'], data);
    }
    if (type !== 'changes') return;
    const parts = [...(this.#parts.get(channel) ?? []), event];
    this.#parts.set(channel, event.last === false ? parts : []);
    if (event.last === false) return;
    this.seen.push(`${channel} ${event.position}`);
    for (const { op, key, data } of parts.flatMap(({ events }) => events ?? [])) {
      if (op === 'truncate') rows.clear();
      else if (op === 'delete') rows.delete(key?.['id']);
      else rows.set(key?.['id'], data);
    }
  }

  /** The connection is lost: parts of an unfinished commit come again. */
  lose(): void {
    this.#parts.clear();
  }

  of(channel: string): unknown[] {
    return [...(this.byChannel.get(channel)?.values() ?? [])].sort(
      (a, b) => (a as { id: number }).id - (b as { id: number }).id,
    );
  }
}

// What Postgres does is the same as for websockets, whose tests run on every version.
describe.each([NEWEST])('Postgres %i', (version) => {
  let here: Stage;
  let token: string;
  let ids = 0;

  beforeAll(async () => {
    here = await stage(SCHEMA, SETTINGS, version);
    token = await signToken({ sub: 'ada' });
  });
  afterAll(() => here.end());

  const urlOf = (query: string) => `https://localhost:${here.service.port}/v1/events?${query}`;
  const open = (query: string, more: Record<string, string> = {}, rows?: Rows) =>
    EventClient.open(urlOf(query), {
      ca: here.service.certificate.cert,
      headers: { authorization: `Bearer ${token}`, ...more },
      ...(rows === undefined ? {} : { onBlock: (event: StreamEvent | undefined) => event && rows.apply(event) }),
    });
  const insert = (room: string, body = 'text') =>
    here.query('insert into notes values ($1, $2, $3)', [++ids, room, body]);
  const view = async (room: string) =>
    (await here.query('select id, room, body, doc from notes where room = $1 order by id', [room])).rows;

  test('a snapshot comes first, and each commit has an id from which the stream resumes exactly', async () => {
    await insert('r1');
    const first = await open('channel=room:r1&snapshot=true');
    expect(first.response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    });
    await first.wait('subscribed', ({ type }) => type === 'subscribed');
    expect(first.events.map(({ type }) => type)).toEqual(['welcome', 'snapshot', 'subscribed']);
    await insert('r1', 'one');
    await first.wait('the commit', ({ type }) => type === 'changes');
    const id = first.lastEventId;
    first.cut();
    const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await here.query(`begin; select sno.trace('${trace}')`);
    await insert('r1', 'two');
    await here.query('commit');
    const second = await open('channel=room:r1&snapshot=true&old=true', { 'last-event-id': id });
    const change = await second.wait('the missed commit', ({ type }) => type === 'changes');
    expect(change.events?.map(({ data }) => (data as { body: string }).body)).toEqual(['two']);
    expect(change.trace).toBe(trace);
    expect(second.of('room:r1').find(({ type }) => type === 'subscribed')).toMatchObject({ recovered: true });
    await here.query(`update notes set body = 'three' where body = 'two'`);
    const update = await second.wait('the update', ({ events }) => events?.[0]?.op === 'update');
    expect(update.events?.[0]).toMatchObject({ data: { body: 'three' }, old: { body: 'two', room: 'r1', doc: null } });
    second.cut();
    const both = ['usual', 'old'].map((kind) => `channel=room:r1&channel=room:r2${kind === 'old' ? '&old=true' : ''}`);
    for (const query of both) {
      const third = await open(query, { 'last-event-id': '' });
      await third.wait('r1', ({ type, channel }) => type === 'subscribed' && channel === 'room:r1');
      await here.query(`update notes set body = body || '.' where body like 'three%'`);
      const { events } = await third.wait('the update', ({ events }) => events?.[0]?.op === 'update');
      expect(Object.keys(events?.[0] ?? {})).toEqual([
        'op',
        'key',
        'data',
        ...(query.endsWith('old=true') ? ['old'] : []),
      ]);
      third.cut();
    }
  });

  test('what clients hold equals the view, after cuts anywhere, kill -9, and access that ends', async () => {
    const query = 'channel=room:r1&channel=room:r2&channel=room:r3&snapshot=true';
    const rows = new Rows();
    let client = await open(query, {}, rows);
    await client.wait(
      'subscribed to all',
      () => client.events.filter(({ type }) => type === 'subscribed').length === 3,
    );
    for (let round = 0; round < 12; round++) {
      await here.query('begin');
      for (const room of ['r1', 'r2', 'r3'].slice(0, 1 + (round % 3))) await insert(room, `round ${round}`);
      if (round % 4 === 1) await insert('r2', 'x'.repeat(50_000));
      await here.query(
        "update notes set room = 'r' || (1 + (id + $1) % 3) where room in ('r1', 'r2', 'r3') and id % 2 = 0",
        [round],
      );
      await here.query('commit');
      // Cuts at different places of what the commit brings.
      if (round % 2 === 0) await until(() => client.events.some(({ type }) => type === 'changes'), 'something');
      client.cut();
      rows.lose();
      if (round === 5) {
        await here.service.kill();
        await here.service.restart();
      }
      client = await open(query, { 'last-event-id': client.lastEventId }, rows);
    }
    await until(async () => {
      for (const room of ['r1', 'r2', 'r3']) expect(rows.of(`room:${room}`)).toEqual(await view(room));
      return true;
    }, 'the rows are those of the view');
    expect(rows.seen.length).toBe(new Set(rows.seen).size);
    await here.query("delete from members where room = 'r2'");
    await insert('r2', 'secret');
    await insert('r1', 'public');
    expect(await client.wait('the end of access', ({ type }) => type === 'unsubscribed')).toMatchObject({
      channel: 'room:r2',
      code: 'access_revoked',
    });
    await client.wait('the other channel', (event) => JSON.stringify(event).includes('public'));
    expect(JSON.stringify(client.of('room:r2'))).not.toContain('secret');
    client.cut();
    await here.query("insert into members values ('r2', 'ada')");
    const again = await open(query, { 'last-event-id': client.lastEventId }, rows);
    await again.wait(
      'its rows anew',
      ({ type, channel, last }) => type === 'snapshot' && channel === 'room:r2' && last === true,
    );
    await until(
      async () => JSON.stringify(rows.of('room:r2')) === JSON.stringify(await view('r2')),
      'the rows of the view',
    );
    again.cut();
  }, 120_000);
});

describe('clients as they are', () => {
  let here: Stage;
  let token: string;
  let ids = 0;
  /** Serves a page of the service's site, of another origin. */
  let pages: Server;
  let origin: string;

  beforeAll(async () => {
    const port = await freePort();
    origin = `https://localhost:${port}`;
    here = await stage(SCHEMA, { ...SETTINGS, SNO_COOKIE: 'session', SNO_ALLOWED_ORIGINS: origin });
    token = await signToken({ sub: 'ada' });
    const { cert, keyFile } = here.service.certificate;
    pages = createServer({ cert, key: await readFile(keyFile) }, (_request, response) => {
      response.setHeader('content-type', 'text/html').end('<p>A page');
    }).listen(port, 'localhost');
    await once(pages, 'listening');
  });
  afterAll(async () => {
    pages.close();
    await here.end();
  });

  const urlOf = (query: string) => `https://localhost:${here.service.port}/v1/events?${query}`;
  const insert = (room: string, body: string) =>
    here.query('insert into notes values ($1, $2, $3)', [++ids, room, body]);
  const view = async (room: string) =>
    (await here.query('select id, room, body, doc from notes where room = $1 order by id', [room])).rows;

  test('the package eventsource receives 5 MB and json of many lines, and resumes by itself after kill -9', async () => {
    const rows = new Rows();
    const agent = new Agent({ ca: here.service.certificate.cert });
    const errors: unknown[] = [];
    const source = new EventSource(urlOf('channel=room:r4&snapshot=true'), { fetch: fetchThrough(agent, token) });
    let opened = 0;
    source.addEventListener('open', () => opened++);
    source.addEventListener('error', (event) => errors.push((event as { code?: number }).code));
    for (const type of ['snapshot', 'changes'])
      source.addEventListener(type, (event) =>
        rows.apply(JSON.parse(String((event as MessageEvent).data)) as StreamEvent),
      );
    await until(() => rows.byChannel.has('room:r4'), 'the snapshot');
    const doc = '{\n  "a": [1,\r\n 2],\r  "b": "c\\n" }';
    await here.query("insert into notes values ($1, 'r4', $2, $3)", [++ids, 'x'.repeat(5_000_000), doc]);
    await until(() => rows.of('room:r4').length === 1, 'the large event');
    await here.service.kill();
    await insert('r4', 'meanwhile');
    await here.service.restart();
    await until(() => rows.of('room:r4').length === 2, 'what was committed meanwhile');
    expect(rows.of('room:r4')).toEqual(await view('r4'));
    expect(rows.seen.length).toBe(2);
    expect(opened).toBeGreaterThan(1);
    expect(source.readyState).not.toBe(EventSource.CLOSED);
    source.close();
    agent.destroy();
  }, 120_000);

  test('curl shows the stream', async () => {
    const args = ['-sN', '--cacert', here.service.certificate.certFile, '-H', `Authorization: Bearer ${token}`];
    const curl = spawn('curl', [...args, urlOf('channel=room:r5&snapshot=true')]);
    let output = '';
    curl.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    try {
      await until(() => output.includes('event: subscribed'), 'subscribed');
      await insert('r5', 'hello');
      await until(() => /^event: changes\ndata: .*"body":"hello".*\nid: \S+\n\n/m.test(output), 'the commit');
    } finally {
      curl.kill('SIGKILL');
    }
  });

  test("a browser's EventSource sends the cookie, and resumes after a drain", async () => {
    const browser = await launchBrowser('--ignore-certificate-errors');
    try {
      const context = await browser.newContext({ ignoreHTTPSErrors: true });
      const host = `https://localhost:${here.service.port}`;
      await context.addCookies([
        { name: 'session', value: token, url: host, sameSite: 'Lax', secure: true, httpOnly: true },
      ]);
      const page = await context.newPage();
      await page.goto(origin);
      await page.evaluate((url) => {
        const kept: [string, string, string][] = [];
        const source = new globalThis.EventSource(url, { withCredentials: true });
        for (const type of ['subscribed', 'changes', 'snapshot', 'error'])
          source.addEventListener(type, (event) => {
            const { data, lastEventId } = event as MessageEvent<string>;
            kept.push([type, data, lastEventId]);
          });
        Object.assign(globalThis, { kept, source });
      }, `${host}/v1/events?channel=room:r3&snapshot=true`);
      const kept = () => page.evaluate(() => (globalThis as unknown as { kept: [string, string, string][] }).kept);
      await until(async () => {
        const all = await kept();
        if (all.some(([type]) => type === 'subscribed')) return true;
        throw new Error(JSON.stringify(all));
      }, 'subscribed');
      await here.query("insert into notes values (1001, 'r3', 'one')");
      await until(async () => (await kept()).some(([type]) => type === 'changes'), 'the commit');
      await here.service.terminate();
      await here.query("insert into notes values (1002, 'r3', 'two')");
      await here.service.restart();
      await until(async () => (await kept()).filter(([type]) => type === 'changes').length === 2, 'the missed commit');
      const all = await kept();
      expect(all.filter(([type]) => type === 'snapshot')).toHaveLength(1);
      const [first, second] = all.filter(([type]) => type === 'changes');
      expect(first?.[2]).toBe((JSON.parse(first?.[1] ?? '') as StreamEvent).position);
      expect(second?.[1]).toContain('two');
      expect(await readMetric(here.service, 'sno_event_streams')).toBe(1);
    } finally {
      await browser.close();
    }
  }, 120_000);
});

/** `fetch` with a token and the test's authority, which Node's own does not take. */
function fetchThrough(agent: Agent, token: string): FetchLike {
  return (url, { headers, signal }) =>
    new Promise((resolve, reject) => {
      const sent = request(url, { agent, headers: { ...headers, authorization: `Bearer ${token}` } }, (response) => {
        response.on('error', () => undefined);
        resolve({
          body: Readable.toWeb(response) as ReadableStream<Uint8Array>,
          url: String(url),
          status: response.statusCode ?? 0,
          redirected: false,
          headers: new Headers(response.headers as Record<string, string>),
        });
      });
      sent.on('error', reject);
      signal?.addEventListener('abort', () => sent.destroy());
      sent.end();
    });
}
