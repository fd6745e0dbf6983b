/**
 * A model of writers and of Postgres's reorder buffer: rows with the xid of their transaction or
 * subtransaction, in the order of the WAL, sent whole at the commit and in blocks before.
 */

type Action =
  | 'row'
  | 'message'
  | 'large row'
  | 'give up'
  | 'savepoint'
  | 'release'
  | 'rollback'
  | 'send'
  | 'commit'
  | 'abort';

interface Row {
  readonly xid: number;
  readonly letter: 'I' | 'M';
  readonly text: string;
  isSent: boolean;
}

/** A subtransaction, or the transaction itself. It has a xid once it writes. */
interface Level {
  xid: number | undefined;
  /** Released subtransactions within it. */
  readonly released: number[];
}

const COMMITTED_AT = 800_000_000_000_000;
const LARGE_BYTES = 300_000;
const NO_XID = 0;

export class Writers {
  /** The messages of each transaction at its commit. */
  readonly whole: Buffer[] = [];
  /** The same transactions in blocks. */
  readonly blocks: Buffer[] = [];
  readonly #writers: Transaction[];
  #xid = 700;
  #lsn = 1_000;
  #row = 0;

  constructor(count: number) {
    this.#writers = Array.from({ length: count }, () => new Transaction());
  }

  act(index: number, action: Action): void {
    const writer = this.#writers[index] as Transaction;
    switch (action) {
      case 'row':
      case 'message':
      case 'large row':
      case 'give up':
        return this.#write(writer, action);
      case 'savepoint':
        writer.levels.push({ xid: undefined, released: [] });
        return;
      case 'release':
        return writer.release();
      case 'rollback':
        return this.#rollback(writer);
      case 'send':
        return this.#send(writer);
      case 'commit':
        return this.#commit(index, writer);
      case 'abort':
        return this.#abort(index, writer);
    }
  }

  /** Ends all transactions. */
  finish(): void {
    for (const [index, writer] of this.#writers.entries()) this.#commit(index, writer);
  }

  #write(writer: Transaction, kind: Action): void {
    // parents have smaller xids than their children
    for (const level of writer.levels) level.xid ??= ++this.#xid;
    const xid = writer.levels.at(-1)?.xid as number;
    const text = kind === 'large row' ? 'x'.repeat(LARGE_BYTES) : `${kind} ${++this.#row}`;
    writer.rows.push({ xid, letter: kind === 'message' ? 'M' : 'I', text, isSent: false });
  }

  #send(writer: Transaction): void {
    const rows = writer.rows.filter(({ isSent }) => !isSent);
    if (rows.length === 0) return;
    const start = Buffer.alloc(6);
    start.write('S');
    start.writeUInt32BE(writer.xid, 1);
    start[5] = writer.isStreamed ? 0 : 1;
    this.blocks.push(start, Buffer.from('Oorigin\0'));
    for (const row of rows) {
      row.isSent = true;
      writer.sent.add(row.xid);
      const xid = Buffer.alloc(4);
      // a message names the whole transaction, whichever subtransaction wrote it
      xid.writeUInt32BE(row.letter === 'M' ? writer.xid : row.xid);
      this.blocks.push(Buffer.concat([Buffer.from(row.letter), xid, Buffer.from(row.text)]));
    }
    this.blocks.push(Buffer.from('E'));
    writer.isStreamed = true;
  }

  #rollback(writer: Transaction): void {
    if (writer.levels.length === 1) return;
    const { xid, released } = writer.levels.pop() as Level;
    if (xid === undefined) return;
    for (const gone of [...released, xid]) {
      writer.rows = writer.rows.filter((row) => row.xid !== gone);
      if (writer.sent.has(gone)) this.#sendAbort(writer.xid, gone);
    }
  }

  #commit(index: number, writer: Transaction): void {
    const { rows } = writer;
    this.#writers[index] = new Transaction();
    if (writer.levels[0]?.xid === undefined) return;
    this.#lsn += 16;
    const [begin, commit] = [Buffer.alloc(21), Buffer.alloc(26)];
    begin.write('B');
    begin.writeBigUInt64BE(BigInt(this.#lsn), 1);
    begin.writeBigInt64BE(BigInt(COMMITTED_AT), 9);
    begin.writeUInt32BE(writer.xid, 17);
    commit.write('C');
    commit.writeBigUInt64BE(BigInt(this.#lsn), 2);
    commit.writeBigUInt64BE(BigInt(this.#lsn + 8), 10);
    commit.writeBigInt64BE(BigInt(COMMITTED_AT), 18);
    const whole = [begin, ...rows.map(({ letter, text }) => Buffer.from(`${letter}${text}`)), commit];
    this.whole.push(...whole);
    if (!writer.isStreamed) {
      this.blocks.push(...whole);
      return;
    }
    // the rest is sent before the commit
    this.#send(writer);
    const streamed = Buffer.alloc(30);
    streamed.write('c');
    streamed.writeUInt32BE(writer.xid, 1);
    commit.copy(streamed, 5, 1);
    this.blocks.push(streamed);
  }

  #abort(index: number, writer: Transaction): void {
    this.#writers[index] = new Transaction();
    if (!writer.isStreamed) return;
    for (const xid of writer.sent) if (xid !== writer.xid) this.#sendAbort(writer.xid, xid);
    this.#sendAbort(writer.xid, writer.xid);
  }

  #sendAbort(top: number, xid: number): void {
    const abort = Buffer.alloc(9);
    abort.write('A');
    abort.writeUInt32BE(top, 1);
    abort.writeUInt32BE(xid, 5);
    this.blocks.push(abort);
  }
}

class Transaction {
  /** The transaction, and its open subtransactions. */
  readonly levels: Level[] = [{ xid: undefined, released: [] }];
  rows: Row[] = [];
  /** The xids of sent rows. */
  readonly sent = new Set<number>();
  isStreamed = false;

  get xid(): number {
    return this.levels[0]?.xid ?? NO_XID;
  }

  release(): void {
    if (this.levels.length === 1) return;
    const { xid, released } = this.levels.pop() as Level;
    this.levels.at(-1)?.released.push(...released, ...(xid === undefined ? [] : [xid]));
  }
}
