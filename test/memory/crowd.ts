/** Starts a crowd of subscribers (crowd-client.ts) and sends it commands. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** Clients with the same options. */
export interface Group {
  readonly clients: number;
  /** Channel name; `{}` stands for the channel's number, from 1. */
  readonly channel: string;
  readonly channelsEach: number;
  /** Number of channels; after the last one, the first comes again. */
  readonly channelCount: number;
  readonly from: 'now' | 'snapshot';
  /** How long a client rests after each read. */
  readonly restMs: number;
}

/** Each order has a number, which its answer repeats. */
export type Order = { readonly order: number; readonly crowd: string } & Command;
export interface Answer {
  readonly order: number;
  readonly report: Report;
}

type Command =
  | { readonly do: 'create'; readonly group: Group }
  /** Connects all clients, `atOnce` at a time. Clients that were connected before resume. */
  | { readonly do: 'open'; readonly atOnce: number }
  /**
   * `live` is answered when all clients are subscribed, `reach` when the newest row of each has
   * this `n`.
   */
  | { readonly do: 'live' }
  | { readonly do: 'reach'; readonly n: number }
  | { readonly do: 'pause' | 'resume' | 'cut' | 'leave' | 'report' };

export interface Report {
  /** Subscriptions that have ever been subscribed, and that are now. */
  readonly answered: number;
  readonly live: number;
  readonly events: number;
  /** Rows whose `n` did not follow the previous one. */
  readonly gaps: number;
  /** Complete snapshots, and their rows. */
  readonly snapshots: number;
  readonly snapshotRows: number;
  /** Answers with `recovered`. */
  readonly recovered: number;
  /** Connections that the server ended. */
  readonly cuts: number;
  readonly frameBytesMax: number;
  /** Compressed frames. Every other client gets them. */
  readonly deflated: number;
  /** Counts by reason, and by code. */
  readonly resets: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
}

const SOURCE = fileURLToPath(new URL('crowd-client.ts', import.meta.url));
const GROUP: Group = { clients: 1, channel: '', channelsEach: 1, channelCount: 1, from: 'now', restMs: 0 };
const AT_ONCE = 50;

export class CrowdProcess {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #waiting = new Map<
    number,
    { readonly resolve: (report: Report) => void; readonly reject: (error: Error) => void }
  >();
  #orders = 0;
  #crowds = 0;

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#folder = folder;
    createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }).on('line', (line) => {
      const { order, report } = JSON.parse(line) as Answer;
      this.#waiting.get(order)?.resolve(report);
      this.#waiting.delete(order);
    });
    child.once('exit', (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the crowd's process ended with ${code}`));
    });
  }

  static async start(port: number): Promise<CrowdProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'sno-crowd-'));
    const outfile = join(folder, 'crowd.mjs');
    await build({ entryPoints: [SOURCE], bundle: true, platform: 'node', format: 'esm', outfile, logLevel: 'warning' });
    const child = spawn(process.execPath, [outfile, String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
    return new CrowdProcess(child, folder);
  }

  /** Creates clients that are not connected yet. */
  async crowd(group: Partial<Group> & Pick<Group, 'channel'>): Promise<Crowd> {
    const name = String(++this.#crowds);
    const crowd = new Crowd((command) => this.#tell({ ...command, order: ++this.#orders, crowd: name }));
    await this.#tell({ do: 'create', group: { ...GROUP, ...group }, order: ++this.#orders, crowd: name });
    return crowd;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await exited;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }

  #tell(order: Order): Promise<Report> {
    const answer = new Promise<Report>((resolve, reject) => this.#waiting.set(order.order, { resolve, reject }));
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`);
    return answer;
  }
}

export class Crowd {
  readonly #tell: (command: Command) => Promise<Report>;

  constructor(tell: (command: Command) => Promise<Report>) {
    this.#tell = tell;
  }

  /** Resolves when all are subscribed. */
  async open(atOnce = AT_ONCE): Promise<Report> {
    await this.start(atOnce);
    return this.live();
  }

  start(atOnce = AT_ONCE): Promise<Report> {
    return this.#tell({ do: 'open', atOnce });
  }

  live(): Promise<Report> {
    return this.#tell({ do: 'live' });
  }

  /** Resolves when the newest row of every subscription has this `n`. */
  reach(n: number): Promise<Report> {
    return this.#tell({ do: 'reach', n });
  }

  /** Stops reading on all clients. */
  pause(): Promise<Report> {
    return this.#tell({ do: 'pause' });
  }

  resume(): Promise<Report> {
    return this.#tell({ do: 'resume' });
  }

  /** Cuts all connections without a close frame. */
  cut(): Promise<Report> {
    return this.#tell({ do: 'cut' });
  }

  /** Unsubscribes all clients. */
  leave(): Promise<Report> {
    return this.#tell({ do: 'leave' });
  }

  report(): Promise<Report> {
    return this.#tell({ do: 'report' });
  }
}
