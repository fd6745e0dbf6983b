/**
 * Clients that open pages, in a process of their own. One JSON argument, and the line `open` on
 * stdin: they then subscribe to all channels with a snapshot, print the seconds until the last one
 * is subscribed, and leave all channels before the next time.
 */
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { clientFrame } from './dialects.ts';
import { Counter } from './event-reader.ts';
import { Link } from './link.ts';

const { port, token, pages, connections } = JSON.parse(process.argv[2] ?? '') as {
  readonly port: number;
  readonly token: string;
  readonly pages: number;
  readonly connections: number;
};
const frame = (message: object) => clientFrame(0x81, JSON.stringify(message));
const each = pages / connections;

/** Waits for texts that have not arrived yet. */
interface Waiting {
  readonly counter: Counter;
  missing: number;
  readonly resolve: () => void;
}

class Client {
  readonly #link: Link;
  #waiting: Waiting[] = [];
  readonly #subscribes: Buffer;
  readonly #unsubscribes: Buffer;
  readonly ready: Promise<void>;

  constructor(index: number) {
    const channels = Array.from({ length: each }, (_, page) => `page:${index * each + page + 1}`);
    this.#subscribes = Buffer.concat(channels.map((channel) => frame({ type: 'subscribe', channel, snapshot: true })));
    this.#unsubscribes = Buffer.concat(channels.map((channel) => frame({ type: 'unsubscribe', channel })));
    const key = randomBytes(16).toString('base64');
    this.#link = new Link({
      port,
      session: undefined,
      onOpen: () =>
        this.#link.write(
          `GET /v1 HTTP/1.1\r\nHost: localhost:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
        ),
      onSession: () => undefined,
      onData: (chunk) => this.#read(chunk),
      onRead: () => undefined,
      onEnd: () => {
        throw new Error('a client was cut off');
      },
    });
    this.ready = this.#ready();
  }

  async open(): Promise<void> {
    const subscribed = this.#wait('"type":"subscribed"', each);
    this.#link.write(this.#subscribes);
    await subscribed;
  }

  async leave(): Promise<void> {
    const left = this.#wait('"type":"unsubscribed"', each);
    this.#link.write(this.#unsubscribes);
    await left;
  }

  async #ready(): Promise<void> {
    await this.#wait('\r\n\r\n', 1);
    const welcome = this.#wait('"type":"welcome"', 1);
    this.#link.write(frame({ type: 'hello', token }));
    await welcome;
  }

  /** Resolves when the text has arrived so many times. */
  #wait(text: string, wanted: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ counter: new Counter(text), missing: wanted, resolve });
    });
  }

  #read(chunk: Buffer): void {
    for (const waiting of this.#waiting) {
      waiting.missing -= waiting.counter.count(chunk);
      if (waiting.missing <= 0) waiting.resolve();
    }
    this.#waiting = this.#waiting.filter(({ missing }) => missing > 0);
  }
}

async function openAll(): Promise<void> {
  const before = performance.now();
  await Promise.all(clients.map((client) => client.open()));
  const seconds = (performance.now() - before) / 1_000;
  await Promise.all(clients.map((client) => client.leave()));
  process.stdout.write(`${JSON.stringify({ seconds })}\n`);
}

const clients = Array.from({ length: connections }, (_, index) => new Client(index));
await Promise.all(clients.map(({ ready }) => ready));
process.stdout.write('{"ready":true}\n');
createInterface({ input: process.stdin }).on('line', () => void openAll());
// the parent process has ended
process.stdin.on('end', () => process.exit(0));
