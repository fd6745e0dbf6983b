/** Child processes, and their use of processor time and memory. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4_096;

export interface Child {
  readonly pid: number;
  /**
   * Resolves with the first line of output, not returned before, for which `wanted` holds. Rejects
   * if the process ends without one.
   */
  line(wanted: (line: string) => boolean): Promise<string>;
  /** Writes a line to the process's input. */
  tell(line: string): void;
  /** Resolves with the process's exit code. */
  ended(): Promise<number | null>;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/** Maximum time to wait for a line: a silent process hangs. */
const LINE_MS_MAX = 300_000;

const running = new Set<ChildProcess>();
// a failed benchmark leaves no process behind
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

interface Waiting {
  readonly wanted: (line: string) => boolean;
  readonly resolve: (line: string) => void;
  readonly reject: (error: Error) => void;
}

export function start(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Child {
  const child: ChildProcess = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'inherit'] });
  running.add(child);
  child.once('exit', () => running.delete(child));
  const exited = once(child, 'exit') as Promise<[number | null]>;
  let lines: string[] = [];
  let waiting: Waiting[] = [];
  createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }).on('line', (line) => {
    const taker = waiting.find(({ wanted }) => wanted(line));
    if (taker === undefined) {
      lines.push(line);
      return;
    }
    waiting = waiting.filter((each) => each !== taker);
    taker.resolve(line);
  });
  child.stdin?.on('error', () => undefined);
  child.once('exit', (code) => {
    for (const { reject } of waiting) reject(new Error(`${command} ${args.join(' ')} ended with ${code}`));
  });
  return {
    pid: child.pid as number,
    line: (wanted) =>
      new Promise((resolve, reject) => {
        const found = lines.find(wanted);
        if (found === undefined) {
          const timer = setTimeout(() => {
            const said = lines.slice(-3).join('\n');
            reject(new Error(`${command} ${args.join(' ')} has not said what was waited for, but:\n${said}`));
          }, LINE_MS_MAX);
          const take = (text: string) => {
            clearTimeout(timer);
            resolve(text);
          };
          waiting.push({ wanted, resolve: take, reject });
          return;
        }
        lines = lines.filter((line) => line !== found);
        resolve(found);
      }),
    tell: (line) => child.stdin?.write(`${line}\n`),
    ended: async () => (await exited)[0],
    async kill(signal = 'SIGKILL') {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(signal);
      await exited;
    },
  };
}

/** Seconds of processor time that a process has used, user and system (proc(5), stat). */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Processes that a process has started and that have not ended (proc(5), children). */
export function childrenOf(pid: number): readonly number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
}

/** Bytes of a process that are in memory (proc(5), statm). */
export function residentBytes(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * PAGE_BYTES;
}

/** The command with the version that it prints. Undefined if it is not on the PATH. */
export function versionOf(command: string): string | undefined {
  const { status, stdout, stderr } = spawnSync(command, ['--version'], { encoding: 'utf8' });
  if (status !== 0) return undefined;
  const [version = ''] = /\d[\d.]*/.exec(`${stdout}${stderr}`) ?? [];
  return `${command} ${version}`.trim();
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
