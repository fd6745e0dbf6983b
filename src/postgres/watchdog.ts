/**
 * Ends an embedded server and deletes its folder if this process ends without having done so, for
 * whatever reason. The pipe to the watchdog's standard input closes with this process, even after
 * kill -9, when no exit hook runs.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { ServerUser } from './binaries.ts';

/**
 * A line on the standard input tells the script that nothing is left to do. The wait is limited,
 * and checks the file as well as the process: a process that is never reaped never disappears.
 */
const SCRIPT = `
read -r line && exit 0
lock="$0/data/postmaster.pid"
pid=$(head -n 1 "$lock") && kill -QUIT "$pid" && for _ in $(seq 100); do
  kill -0 "$pid" && test -e "$lock" || break
  sleep 0.1
done
rm -rf "$0"
`;

export class Watchdog {
  readonly #process: ChildProcess;

  /** `folder` holds the data directory `data`, and belongs to `user`. */
  constructor(folder: string, user: ServerUser) {
    this.#process = spawn('/bin/sh', ['-c', SCRIPT, folder], {
      ...user,
      cwd: '/',
      stdio: ['pipe', 'ignore', 'ignore'],
      // Not in the terminal's process group: a Ctrl-C must not end it.
      detached: true,
    });
    // Watching must not keep this process alive.
    this.#process.unref();
    (this.#process.stdin as Socket).unref();
  }

  /** Ends the watchdog without effect: the caller deletes the folder itself. */
  async release(): Promise<void> {
    const { exitCode, signalCode, stdin } = this.#process;
    if (exitCode !== null || signalCode !== null) return;
    const ended = once(this.#process, 'close');
    this.#process.ref();
    stdin?.end('release\n');
    await ended;
  }
}
