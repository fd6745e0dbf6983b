/**
 * Tells which transactions a snapshot sees (Postgres docs, "pg_snapshot Components"). xids in the
 * WAL have 32 bits, those of a snapshot 64. A 32-bit xid is taken to lie within 2^31 of the
 * snapshot's xmax, as Postgres does.
 */
export class Visibility {
  readonly #xmax: number;
  readonly #running: ReadonlySet<number>;

  /** `text` is a pg_snapshot: `xmin:xmax:xip,...`. */
  constructor(text: string) {
    const [, xmax, running = ''] = text.split(':');
    this.#xmax = Number(xmax);
    this.#running = new Set(running === '' ? [] : running.split(',').map(Number));
  }

  /** Whether the snapshot contains the effects of a committed transaction. */
  sees(xid: number): boolean {
    const full = this.#xmax + ((xid - (this.#xmax % 0x1_0000_0000)) | 0);
    return full < this.#xmax && !this.#running.has(full);
  }
}
