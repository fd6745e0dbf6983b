/** Child processes, and what they used of the processors. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const TICKS_PER_SECOND = 100;

export interface Child {
  readonly pid: number;
  /** Resolves with the first line of its output for which `wanted` holds. */
  line(wanted: (line: string) => boolean): Promise<string>;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

export function start(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Child {
  const child: ChildProcess = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: string[] = [];
  const waiting: { readonly wanted: (line: string) => boolean; readonly resolve: (line: string) => void }[] = [];
  createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }).on('line', (line) => {
    lines.push(line);
    for (const { wanted, resolve } of waiting) if (wanted(line)) resolve(line);
  });
  return {
    pid: child.pid as number,
    line: (wanted) =>
      new Promise((resolve, reject) => {
        const found = lines.find(wanted);
        if (found !== undefined) return resolve(found);
        waiting.push({ wanted, resolve });
        child.once('exit', (code) => reject(new Error(`${command} ${args.join(' ')} ended with ${code}`)));
        return undefined;
      }),
    async kill(signal = 'SIGKILL') {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
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

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}
