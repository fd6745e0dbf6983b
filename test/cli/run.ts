/** Runs the built command line, as npx does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { plainEnvironment, SNO } from '../support/service.ts';

type Environment = Readonly<Record<string, string>>;

export interface Running {
  readonly process: ChildProcess;
  /** Output so far. */
  stdout: string;
  stderr: string;
  /** The exit code. Null if a signal ended the process. */
  readonly ended: Promise<number | null>;
}

/** Starts `sno` with only these settings. */
export function startSno(args: readonly string[], environment: Environment = {}): Running {
  const child = spawn(process.execPath, [SNO, ...args], {
    env: { ...plainEnvironment(), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const running: Running = {
    process: child,
    stdout: '',
    stderr: '',
    ended: once(child, 'close').then(([code]) => code as number | null),
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    running.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    running.stderr += text;
  });
  return running;
}

export async function sno(args: readonly string[], environment: Environment = {}) {
  const running = startSno(args, environment);
  const code = await running.ended;
  return { code, stdout: running.stdout, stderr: running.stderr };
}
