/** The tables that Postgres has described before it failed: they tell where the failed row is. */

const RELATION = 0x52; // R
const STREAM_START = 0x53; // S
const STREAM_STOP = 0x45; // E
const OID_BYTES = 4;
const XID_BYTES = 4;

/** Tables that a connection has described so far. */
export class DescribedTables {
  readonly #names = new Set<string>();
  #last: string | undefined;
  #isLast = false;
  /** Whether messages are of a transaction in progress, and begin with its xid. */
  #isInProgress = false;

  clear(): void {
    this.#names.clear();
    this.#last = undefined;
    this.#isLast = false;
    this.#isInProgress = false;
  }

  /** A pgoutput message: `buffer[start, end)`. */
  note(buffer: Buffer, start: number, end: number): void {
    const letter = buffer[start];
    this.#isLast = letter === RELATION;
    if (letter === STREAM_START) this.#isInProgress = true;
    else if (letter === STREAM_STOP) this.#isInProgress = false;
    if (!this.#isLast) return;
    const at = start + 1 + OID_BYTES + (this.#isInProgress ? XID_BYTES : 0);
    const [schema, name] = buffer.toString('utf8', at, end).split('\0', 2);
    this.#last = `${schema || 'pg_catalog'}.${name}`;
    this.#names.add(this.#last);
  }

  /**
   * Where the failed row is. A table is described right before its first row, so if only the
   * description arrived, that table's row failed. Otherwise the row may also belong to a table not
   * described yet, whose row filter failed.
   */
  toString(): string {
    const last = this.#last;
    if (last === undefined) return 'at the first row of this connection';
    if (this.#isLast) return `at a row of ${last}`;
    return `after rows of ${[...this.#names].join(', ')}`;
  }
}
