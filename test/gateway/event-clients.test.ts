/**
 * What keeps a stream open is no message for any client: comments, ids without an event, `retry`.
 * Each client receives one event of a real TLS stream, with all of these around it.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { Agent, createServer, request } from 'node:https';
import { Readable } from 'node:stream';
import { afterEach, expect, test } from 'vitest';
import { formatPosition } from '../../src/position.ts';
import { launchBrowser } from '../support/browser.ts';
import { ask, EventClient } from '../support/event-client.ts';
import { type Block, EventParser } from '../support/event-parser.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/wait.ts';
import { EPOCH, type Fixture, startGateway } from './fixture.ts';

let fixture: Fixture;
afterEach(() => fixture.stop());

const QUERY = 'channel=room:1';
const HEARTBEAT_MS = 20;
const COMMENTS = 5;
const EVENTS = ['welcome', 'subscribed', 'message'];

const start = async (page = '') => {
  fixture = await startGateway({ heartbeatMs: HEARTBEAT_MS, settings: { SNO_ALLOWED_ORIGINS: page } });
  return `https://localhost:${fixture.port}/v1/events?${QUERY}`;
};

/** Sends comments, an id, an event, an id and comments. `hasEvent`: the client received it. */
async function sendAll(hasEvent: () => boolean | Promise<boolean>): Promise<void> {
  const witness = await EventClient.open(`https://127.0.0.1:${fixture.port}/v1/events?${QUERY}`, {
    ca: fixture.certificate.cert,
  });
  const comments = () => {
    const before = witness.comments;
    return until(() => witness.comments >= before + COMMENTS, 'comments');
  };
  await comments();
  fixture.hub.heartbeat();
  fixture.publish('room:1', 'the event');
  fixture.hub.heartbeat();
  await comments();
  await until(hasEvent, 'the event');
  await fixture.gateway.drain(0);
  await witness.ended();
}

test('the package eventsource receives the event, and nothing else', async () => {
  const url = await start();
  const agent = new Agent({ ca: fixture.certificate.cert });
  const source = new EventSource(url, { fetch: fetchThrough(agent) });
  const received: [string, string, string][] = [];
  for (const type of EVENTS)
    source.addEventListener(type, (event) => {
      const { data, lastEventId } = event as MessageEvent<string>;
      received.push([type, (JSON.parse(data) as Block).type, lastEventId]);
    });
  await until(() => received.length === 2, 'subscribed');
  await sendAll(() => received.length > 2);
  source.close();
  agent.destroy();
  expect(received).toEqual(expectedOf());
});

test("Chromium's EventSource receives the event, and nothing else", async () => {
  const port = await freePort();
  const origin = `https://localhost:${port}`;
  const url = await start(origin);
  const { cert, keyFile } = fixture.certificate;
  const pages = createServer({ cert, key: await readFile(keyFile) }, (_request, response) => {
    response.setHeader('content-type', 'text/html').end('<p>A page');
  }).listen(port, 'localhost');
  await once(pages, 'listening');
  const browser = await launchBrowser('--ignore-certificate-errors');
  try {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    await page.goto(origin);
    await page.evaluate(
      ([address, types]) => {
        const kept: [string, string, string][] = [];
        const source = new globalThis.EventSource(address);
        for (const type of types)
          source.addEventListener(type, (event) => {
            const { data, lastEventId } = event as MessageEvent<string>;
            kept.push([type, (JSON.parse(data) as { type: string }).type, lastEventId]);
          });
        Object.assign(globalThis, { kept });
      },
      [url, EVENTS] as const,
    );
    const received = () => page.evaluate(() => (globalThis as unknown as { kept: [string, string, string][] }).kept);
    await until(async () => (await received()).length === 2, 'subscribed');
    await sendAll(async () => (await received()).length > 2);
    expect(await received()).toEqual(expectedOf());
  } finally {
    await browser.close();
    pages.close();
  }
}, 60_000);

test.each(['with', 'after'])('a client that hands each block to its app, with ids=%s', async (ids) => {
  const url = await start();
  const response = await ask(`${url}&ids=${ids}`, { ca: fixture.certificate.cert });
  const blocks: Block[] = [];
  const parser = new EventParser('at once', '', (block) => blocks.push(block));
  response.setEncoding('utf8').on('data', (text: string) => parser.read(text));
  const events = () => blocks.filter(({ data }) => data !== undefined).map(({ type }) => type);
  await until(() => events().length === 2, 'subscribed');
  await sendAll(() => events().length > 2);
  expect(parser.comments).toBeGreaterThanOrEqual(COMMENTS);
  expect(events()).toEqual(EVENTS);
  // By the standard, an id without an event needs a blank line.
  expect(blocks.length - events().length).toBe(ids === 'with' ? 2 : 0);
});

/** Type, type in the data, and id of each event. */
function expectedOf(): readonly (readonly [string, string, string])[] {
  return [
    ['welcome', 'welcome', ''],
    ['subscribed', 'subscribed', formatPosition(EPOCH, 100, 1)],
    ['message', 'message', formatPosition(EPOCH, 104, 1)],
  ];
}

/** The package's own types ask for the libraries of a browser. */
const PACKAGE: string = 'eventsource';
type FetchLike = (url: string | URL, init: { readonly headers: Record<string, string> }) => Promise<object>;
const { EventSource } = (await import(PACKAGE)) as {
  readonly EventSource: new (url: string, options: { readonly fetch: FetchLike }) => EventTarget & { close(): void };
};

/** `fetch` with the test's authority, which Node's own does not take. */
function fetchThrough(agent: Agent): FetchLike {
  return (url, { headers }) =>
    new Promise((resolve, reject) => {
      const sent = request(url, { agent, headers }, (response) => {
        response.on('error', () => undefined);
        resolve({
          body: Readable.toWeb(response),
          url: String(url),
          status: response.statusCode ?? 0,
          redirected: false,
          headers: new Headers(response.headers as Record<string, string>),
        });
      });
      sent.on('error', reject);
      sent.end();
    });
}
