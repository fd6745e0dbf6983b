/**
 * The parts of ops/compose without Docker: the same configuration files and the real programs. Only
 * names of hosts and paths are replaced. Each host has a loopback address of its own, so the ports
 * stay as they are.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('../../ops/compose/', import.meta.url));
const HOSTS = { nats1: 1, nats2: 2, nats3: 3, sno1: 11, sno2: 12, haproxy: 20 } as const;
export type HostName = keyof typeof HOSTS;
/** The network of HAProxy and Snö in docker-compose.yml. */
const FRONT = '172.30.17.0/24';

export interface Part {
  /** The process's output so far. */
  readonly output: () => string;
  end(signal?: NodeJS.Signals): Promise<void>;
}

export class Parts {
  readonly #folder: string;
  readonly #network: string;
  readonly #parts: Part[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
    // Test runs beside each other have loopback addresses of their own.
    this.#network = `127.${10 + (process.pid % 200)}.${(process.pid >> 8) % 256}`;
  }

  static async prepare(): Promise<Parts> {
    return new Parts(await mkdtemp(join(tmpdir(), 'sno-compose-')));
  }

  addressOf(host: HostName): string {
    return `${this.#network}.${HOSTS[host]}`;
  }

  /** Text of a configuration file as `host` has it. `paths`: replacements of paths. */
  async configuration(file: string, host: HostName, paths: Readonly<Record<string, string>> = {}): Promise<string> {
    let text = await readFile(join(FOLDER, file), 'utf8');
    for (const [path, here] of Object.entries(paths)) text = text.replaceAll(path, here);
    text = text.replaceAll('0.0.0.0', this.addressOf(host)).replaceAll(FRONT, '127.0.0.0/8');
    const names = new RegExp(`\\b(${Object.keys(HOSTS).join('|')})(?=:)`, 'g');
    return text.replaceAll(names, (name) => this.addressOf(name as HostName));
  }

  /** Settings of a file of `NAME=value` lines. */
  async settings(file: string, host: HostName): Promise<Record<string, string>> {
    const lines = (await this.configuration(file, host)).split('\n').filter((line) => /^\w+=/.test(line));
    return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string]));
  }

  /** Writes a file of the test's own, and returns its path. */
  async write(name: string, text: string): Promise<string> {
    const path = join(this.#folder, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  }

  /** A path for a program's own files. */
  path(name: string): string {
    return join(this.#folder, name);
  }

  run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Part {
    const child: ChildProcess = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const output: Buffer[] = [];
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data: Buffer) => output.push(data));
    const part: Part = {
      output: () => Buffer.concat(output).toString(),
      async end(signal = 'SIGKILL') {
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill(signal);
        await once(child, 'exit');
      },
    };
    this.#parts.push(part);
    return part;
  }

  async end(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.end()));
    await rm(this.#folder, { recursive: true, force: true });
  }
}
