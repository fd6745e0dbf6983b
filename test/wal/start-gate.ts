/** A proxy to Postgres that delays START_REPLICATION until the test's own work is done. */
import type { Socket } from 'node:net';
import { PostgresGate } from '../support/postgres-gate.ts';

export class StartGate extends PostgresGate {
  /** Runs once, before the next START_REPLICATION passes. */
  #before: (() => Promise<unknown>) | undefined;
  /** Number of START_REPLICATION messages that have passed. */
  passed = 0;

  beforeNextStart(work: () => Promise<unknown>): void {
    this.#before = work;
  }

  protected join(client: Socket, server: Socket): void {
    client.on('data', (data) => void this.#pass(client, server, data));
  }

  async #pass(client: Socket, server: Socket, data: Buffer): Promise<void> {
    if (data.includes('START_REPLICATION')) {
      const work = this.#before;
      this.#before = undefined;
      client.pause();
      await work?.();
      client.resume();
      this.passed++;
    }
    server.write(data);
  }
}
