/**
 * Other servers that send events to websocket clients. Each runs in its own process, and is told to
 * send the same event.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DIALECTS, type DialectName } from './dialects.ts';
import { stamp } from './event-reader.ts';
import { delay, start, versionOf } from './processes.ts';
import { freePort, type World } from './world.ts';

export interface Peer {
  /** Includes the version. */
  readonly name: string;
  readonly dialect: DialectName;
  readonly channel: string;
  readonly pid: number;
  readonly port: number;
  /**
   * Sends `count` events, one each `everyMs`; 0: as fast as possible. Returns once the server has
   * the command, before it sends the events.
   */
  send(count: number, everyMs: number): void;
  end(): Promise<void>;
}

type StartPeer = (world: World, event: string) => Promise<Peer>;

const ALL: Readonly<Record<string, StartPeer>> = {
  'socket.io': (world, event) => startNode('socket.io', world, event),
  ws: (world, event) => startNode('ws', world, event),
  'nats-server': startNats,
};

/** BENCH_PEERS=NAME,...: only these peers run. Undefined: all run. */
const wanted = process.env['BENCH_PEERS']?.split(',');
const unknown = wanted?.find((name) => !(name in ALL));
if (unknown !== undefined) throw new Error(`BENCH_PEERS: ${unknown} is not one of ${Object.keys(ALL).join(', ')}`);

/** Why each peer that does not run is left out. */
const leftOut = new Map<string, string>();
if (wanted !== undefined)
  for (const name of Object.keys(ALL)) if (!wanted.includes(name)) leftOut.set(name, 'left out');
if (!leftOut.has('nats-server') && versionOf('nats-server') === undefined)
  leftOut.set('nats-server', 'not on the PATH');

/** Peers by name. `missing` names the peers that do not run. */
export const PEERS: Readonly<Record<string, StartPeer>> = Object.fromEntries(
  Object.entries(ALL).filter(([name]) => !leftOut.has(name)),
);

export const missing: readonly string[] = [...leftOut].map(([name, why]) => `${name} (${why})`);

export function packageVersion(name: string): string {
  return (createRequire(import.meta.url)(`${name}/package.json`) as { version: string }).version;
}

/** Only writes `replayed` events to each subscriber. */
export async function startBare(world: World, event: string, replayed: number): Promise<Peer> {
  const peer = await startNode('bare', world, event, String(replayed));
  return { ...peer, name: 'a bare TLS server', dialect: 'ws' };
}

/**
 * Compresses each event for each client by itself: permessage-deflate as ws does it, without
 * context takeover.
 */
export async function startDeflatingWs(world: World, event: string): Promise<Peer> {
  const peer = await startNode('ws-deflate', world, event);
  return { ...peer, name: `ws ${packageVersion('ws')}, compressed`, dialect: 'ws' };
}

async function startNode(
  kind: 'ws' | 'ws-deflate' | 'socket.io' | 'bare',
  world: World,
  event: string,
  ...more: readonly string[]
): Promise<Peer> {
  const { certFile, keyFile } = world;
  const child = start(process.execPath, ['dist/bench/peer-server.js', kind, certFile, keyFile, event, ...more]);
  const port = Number((await child.line((line) => line.startsWith('port '))).slice('port '.length));
  return {
    name: kind in DIALECTS ? `${kind} ${packageVersion(kind)}` : kind,
    dialect: kind === 'socket.io' ? kind : 'ws',
    channel: 'notes:1',
    pid: child.pid,
    port,
    send: (count, everyMs) => child.tell(JSON.stringify({ count, everyMs })),
    end: () => child.kill(),
  };
}

/**
 * Runs on one core, as Node's servers do. A client in this process publishes over NATS's own
 * protocol.
 */
async function startNats(world: World, event: string): Promise<Peer> {
  const folder = await mkdtemp(join(tmpdir(), 'sno-bench-nats-'));
  const [port, websocketPort] = [await freePort(), await freePort()];
  const configuration = `host: 127.0.0.1
port: ${port}
websocket { host: "127.0.0.1", port: ${websocketPort}, tls { cert_file: "${world.certFile}", key_file: "${world.keyFile}" } }
`;
  const file = join(folder, 'nats.conf');
  await writeFile(file, configuration);
  const child = start('nats-server', ['-c', file, '-l', join(folder, 'log')], { ...process.env, GOMAXPROCS: '1' });
  const publisher = await dial(port);
  publisher.write('CONNECT {"verbose":false,"pedantic":false}\r\n');
  const publish = () => {
    const text = event.replace('{stamp}', stamp());
    return `PUB notes.1 ${Buffer.byteLength(text)}\r\n${text}\r\n`;
  };
  return {
    name: versionOf('nats-server') ?? 'nats-server',
    dialect: 'nats',
    channel: 'notes.1',
    pid: child.pid,
    port: websocketPort,
    send(count, everyMs) {
      if (everyMs === 0) {
        publisher.write(Array.from({ length: count }, publish).join(''));
        return;
      }
      void every(count, everyMs, () => {
        if (!publisher.destroyed) publisher.write(publish());
        return !publisher.destroyed;
      });
    },
    async end() {
      publisher.destroy();
      await child.kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Calls `call` `count` times at an even rate, one call at a time. Stops once a call has returned
 * false.
 */
export async function every(count: number, everyMs: number, call: () => unknown): Promise<void> {
  const beganAt = performance.now();
  for (let index = 1; index <= count; index++) {
    if ((await call()) === false) return;
    await delay(Math.max(0, beganAt + index * everyMs - performance.now()));
  }
}

/** The server may not be listening yet. */
async function dial(port: number): Promise<Socket> {
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    socket.on('data', () => undefined);
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    if (isOpen) return socket;
    await delay(50);
  }
}
