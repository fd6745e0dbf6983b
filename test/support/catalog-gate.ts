/**
 * A TCP proxy between Snö and Postgres that can hold what the WAL stream sends after the
 * definitions of a commit, such as the end of that commit.
 */
import type { Socket } from 'node:net';
import { PostgresGate } from './postgres-gate.ts';

/** The prefix of the message that carries definitions. */
const DEFINITIONS = 'sno.catalog\0';
/** Bytes of a frame's kind and length. The length does not count the kind. */
const HEADER_BYTES = 5;

export class CatalogGate extends PostgresGate {
  /** Called when definitions pass, if what follows them is to be held. */
  #onPassed: (() => void) | undefined;
  /** The connections that are held, with what lets them go on. */
  readonly #held = new Map<Socket, () => void>();

  /**
   * Holds what follows the next definitions. Resolves when they have passed. A stream must be open.
   */
  hold(): Promise<void> {
    return new Promise((resolve) => {
      this.#onPassed = resolve;
    });
  }

  release(): void {
    for (const goOn of [...this.#held.values()]) goOn();
  }

  /** Cuts the connections that are held. */
  cut(): void {
    for (const socket of this.#held.keys()) socket.destroy();
  }

  protected join(client: Socket, server: Socket): void {
    client.on('data', (data) => {
      if (data.includes('START_REPLICATION')) this.#watch(client, server);
      server.write(data);
    });
  }

  /** Passes the server's frames on one by one. It has answered everything so far. */
  #watch(client: Socket, server: Socket): void {
    let waiting = Buffer.alloc(0);
    const pass = () => {
      while (!this.#held.has(client) && waiting.length >= HEADER_BYTES) {
        const end = waiting.readInt32BE(1) + 1;
        if (waiting.length < end) return;
        const frame = waiting.subarray(0, end);
        waiting = waiting.subarray(end);
        client.write(frame);
        if (this.#onPassed === undefined || !frame.includes(DEFINITIONS)) continue;
        this.#held.set(client, () => {
          this.#held.delete(client);
          pass();
        });
        this.#onPassed();
        this.#onPassed = undefined;
      }
    };
    client.on('close', () => this.#held.delete(client));
    server.unpipe(client);
    server.on('data', (data: Buffer) => {
      waiting = Buffer.concat([waiting, data]);
      pass();
    });
    server.resume();
  }
}
