/** promtool, of Debian's package prometheus. */
import { execFile } from 'node:child_process';
import { findProgram } from '../support/debian-program.ts';

interface Outcome {
  readonly code: number;
  /** Its output and its errors. */
  readonly output: string;
}

/** Runs promtool. `input`: its standard input. */
export async function promtool(args: readonly string[], input = ''): Promise<Outcome> {
  const program = await findProgram('promtool', { package: 'prometheus', path: 'usr/bin/promtool' });
  return new Promise((resolve) => {
    const child = execFile(program, [...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : Number(error !== null), output: stdout + stderr });
    });
    // A program that reads no input may close it early.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}
