/**
 * Subscribers in a separate process, over raw sockets, with TLS or without. Some of them, spread
 * evenly, read their events; the bytes of the others are only counted. One JSON argument
 * (`LoadOptions`) and lines on stdin control it. It answers with lines of JSON.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { ALIVE, DIALECTS, type Dialect } from './dialects.ts';
import { ageAt, Counter, DeflatedCounter } from './event-reader.ts';
import { Link } from './link.ts';
import type { LoadOptions, LoadReport } from './load.ts';

const options = JSON.parse(process.argv[2] ?? '') as LoadOptions;
const dialect: Dialect = DIALECTS[options.dialect];
/**
 * Share of a reader's bytes that any other subscriber must have received to be complete. TLS may
 * cut its records differently for each.
 */
const COMPLETE = 0.99;
const CHECK_MS = 5;
const HEAD_END = Buffer.from('\r\n\r\n');
const RETRY_MS = 50;
/**
 * Each subscriber sends a sign of life once in this many turns of one second: more often than Snö
 * asks.
 */
const ALIVE_TURNS = 15;

function tokenOf(sub: string, secret: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256' })}.${part({ sub })}`;
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

let session: Buffer | undefined;
let readyCount = 0;
let retries = 0;
let events = 0;
let bytes = 0;
let lastReadAt = 0;
let firstEventAt = 0;
let ages: number[] = [];
const beganAt = performance.now();

const newCounter = (): Counter | DeflatedCounter =>
  options.compresses ? new DeflatedCounter() : new Counter(options.needle);
const EXTENSIONS = options.compresses ? 'Sec-WebSocket-Extensions: permessage-deflate\r\n' : '';

class Subscriber {
  readonly #index: number;
  readonly isReader: boolean;
  link: Link | undefined;
  #state: 'upgrading' | 'joining' | 'ready' = 'upgrading';
  #joined = 0;
  #readies = new Counter(dialect.ready);
  #events = newCounter();
  events = 0;

  constructor(index: number) {
    this.#index = index;
    this.isReader = index % Math.ceil(options.clients / options.readers) === 0;
  }

  connect(): void {
    this.#state = 'upgrading';
    this.#joined = 0;
    this.#readies = new Counter(dialect.ready);
    this.#events = newCounter();
    this.link = new Link({
      port: options.port,
      isPlain: options.isPlain,
      session: options.resumesSession ? session : undefined,
      onOpen: () => this.#upgrade(),
      onSession: (given) => {
        session = given;
      },
      onData: (chunk) => this.#read(chunk),
      onRead: (count) => {
        bytes += count;
        lastReadAt = performance.now();
      },
      onEnd: () => this.#ended(),
    });
  }

  /**
   * Before a subscriber is ready, the server may not be listening yet, or may be full. A ready
   * subscriber must not be cut off.
   */
  #ended(): void {
    if (this.#state === 'ready') throw new Error('a subscriber was cut off');
    retries++;
    setTimeout(() => this.connect(), RETRY_MS * (1 + Math.random()));
  }

  #upgrade(): void {
    const key = randomBytes(16).toString('base64');
    this.link?.write(
      `GET ${dialect.path} HTTP/1.1\r\nHost: localhost:${options.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n${EXTENSIONS}\r\n`,
    );
  }

  #read(chunk: Buffer): void {
    let rest = chunk;
    if (this.#state === 'upgrading') {
      rest = chunk.subarray(chunk.indexOf(HEAD_END) + HEAD_END.length);
      const { channelsEach, since, secret } = options;
      const token = secret === undefined ? options.token : tokenOf(`client ${this.#index}`, secret);
      const channels = Array.from({ length: channelsEach }, (_, channel) =>
        options.channel.replace('{}', String(options.firstChannel + this.#index * channelsEach + channel)),
      );
      // in one write for each server: one TLS record, one packet
      this.link?.write(Buffer.concat(dialect.opening({ channels, token, since })));
      this.#state = 'joining';
    }
    if (this.#state === 'joining') {
      this.#joined += this.#readies.count(chunk);
      if (this.#joined >= (dialect.readyOnce ? 1 : options.channelsEach)) this.#ready();
    }
    this.#count(rest);
  }

  #count(chunk: Buffer): void {
    const found = this.#events.count(chunk, (at, after) => {
      const age = options.isTimed ? ageAt(at, after) : undefined;
      if (age !== undefined) ages.push(age);
    });
    if (found > 0 && firstEventAt === 0) firstEventAt = performance.now();
    this.events += found;
    events += found;
  }

  get isReady(): boolean {
    return this.#state === 'ready';
  }

  #ready(): void {
    this.#state = 'ready';
    if (!this.isReader) this.link?.blind();
    readyCount++;
    // the first connection has brought a TLS session for all the others
    if (options.resumesSession && readyCount === 1) begin();
    else next();
    if (readyCount === options.clients) say({ ready: true });
  }
}

const subscribers = Array.from({ length: options.clients }, (_, index) => new Subscriber(index));
const readers = subscribers.filter(({ isReader }) => isReader);
let connected = 0;
function next(): void {
  subscribers[connected++]?.connect();
}
function begin(left = options.concurrency): void {
  const count = Math.min(left, options.perTurn);
  for (let index = 0; index < count; index++) next();
  if (left > count) setImmediate(() => begin(left - count));
}
if (options.resumesSession) next();
else begin();

let turn = 0;
setInterval(() => {
  turn++;
  for (let index = turn % ALIVE_TURNS; index < subscribers.length; index += ALIVE_TURNS) {
    const { isReady, link } = subscribers[index] as Subscriber;
    if (isReady) link?.write(ALIVE);
  }
}, 1_000);

/** Whether every reader has received `wanted` events, and all others as many bytes. */
function isComplete(wanted: number): boolean {
  if (readyCount < options.clients || readers.some((reader) => reader.events < wanted)) return false;
  const read = Math.min(...readers.map(({ link }) => link?.bytes ?? 0)) * COMPLETE;
  return subscribers.every(({ link }) => (link?.bytes ?? 0) >= read);
}

function say(more: object): void {
  const sorted = ages.sort((a, b) => a - b);
  const quantile = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
  const at = performance.timeOrigin + lastReadAt;
  const report: LoadReport = {
    at,
    seconds: (performance.now() - beganAt) / 1_000,
    burstSeconds: (lastReadAt - firstEventAt) / 1_000,
    readerEvents: readers.length === 0 ? 0 : Math.min(...readers.map((reader) => reader.events)),
    readers: readers.length,
    events,
    bytes,
    retries,
    p50: quantile(0.5),
    p99: quantile(0.99),
    max: quantile(1),
  };
  process.stdout.write(`${JSON.stringify({ ...report, ...more })}\n`);
}

/**
 * Commands: `reset`, `report`, or a number of events. `complete` is printed once every subscriber
 * has received that many.
 */
createInterface({ input: process.stdin }).on('line', (line) => {
  if (line === 'reset') {
    ages = [];
    bytes = 0;
    events = 0;
    firstEventAt = 0;
    for (const subscriber of subscribers) subscriber.events = 0;
    say({ reset: true });
  } else if (line === 'report') {
    say({ report: true });
  } else {
    const timer = setInterval(() => {
      if (!isComplete(Number(line))) return;
      clearInterval(timer);
      say({ complete: true });
    }, CHECK_MS);
  }
});
// the parent process has ended
process.stdin.on('end', () => process.exit(0));
