/**
 * Sees to it that everything is known that messages need before they are passed on. If something is
 * not, asks Postgres for it by a snapshot, reads on until every commit that the snapshot sees has
 * arrived, and undoes what happened after the waiting place. See docs/decisions/0058-live-joins.md.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Lsn } from '../../lsn.ts';
import type { Visibility } from '../../markers/visibility.ts';
import type { JoinedView } from './joined-view.ts';
import type { Joins, Missing } from './joins.ts';
import { type Change, type KnownTable, undo } from './known-rows.ts';
import { LookupSession, TooManyRowsFound } from './lookups.ts';
import type { JoinReset } from './stage.ts';
import { Window } from './window.ts';

export interface JoinLookaheadOptions {
  readonly joins: () => Joins;
  readonly isFresh: (commitLsn: Lsn) => boolean;
  readonly pool: pg.Pool;
  /** Commits a marker with this id. */
  readonly mark: (id: string) => Promise<void>;
  /** Resolves when it is time to retry. */
  readonly pause: (attempt: number) => Promise<void>;
  readonly now: () => number;
  readonly cacheBytesMax: number;
  readonly rowsMax: number;
  /** An ask failed, so the views that needed it are reset if their rows change. */
  readonly onFailed: (why: JoinReset, error: Error) => void;
  /** Counts the queries of a question, and its lookups. */
  readonly onAsked: (lookups: number) => void;
}

/** Maximum bytes of messages that wait while Postgres is asked. */
const WAITING_BYTES_MAX = 64 << 20;
/** How long to wait until a snapshot sees what was passed on before, in ms. */
const VISIBLE_MS_MAX = 5_000;
/** How long the marker may take, in ms. */
const MARKER_MS_MAX = 15_000;
/** Maximum transactions that are remembered until a snapshot has seen them. */
const PASSED_MAX = 10_000;

class Failed extends Error {
  readonly why: JoinReset;

  constructor(why: JoinReset, message: string) {
    super(message);
    this.why = why;
  }
}

export class JoinLookahead {
  readonly #options: JoinLookaheadOptions;
  readonly #window: Window;
  /** Transactions whose changes were passed on, and that no snapshot has been known to see. */
  #passed = new Set<number>();
  #givenUp = new Map<JoinedView, JoinReset>();
  /** Called with each message that arrives while Postgres is asked, after it was read. */
  #onRead: (() => void) | undefined;
  #waitingBytes = 0;
  #passedCount = 0;
  #stream = 0;

  constructor(options: JoinLookaheadOptions) {
    this.#options = options;
    this.#window = new Window(options);
  }

  get isNeeded(): boolean {
    return this.#options.joins().views.length > 0;
  }

  /** Views that are reset if the messages that are passed on now change their rows. */
  get givenUp(): ReadonlyMap<JoinedView, JoinReset> {
    return this.#givenUp;
  }

  /** A new stream begins. */
  reset(): void {
    this.#stream++;
    this.#window.reset();
    this.#passedCount = this.#window.count;
    this.#givenUp = new Map();
    this.#waitingBytes = 0;
    for (const { indexes } of this.#options.joins().tables) for (const index of indexes) index.clear();
    this.#onRead?.();
    this.#onRead = undefined;
  }

  /** A message has arrived. It waits until it is passed on. Messages are read in their order. */
  read(buffer: Buffer, start: number, end: number): void {
    this.#waitingBytes += end - start;
    this.#window.read(buffer, start, end);
    this.#onRead?.();
  }

  /** Number of messages read so far. */
  get count(): number {
    return this.#window.count;
  }

  /**
   * Prepares the messages before this number. Undefined: all that they need is known. Else a
   * promise that resolves when it is, or when the views that lack it are given up.
   */
  prepare(chunkEnd: number): Promise<void> | undefined {
    this.#givenUp = new Map();
    if (this.#window.isBlind(this.#passedCount)) {
      for (const view of this.#options.joins().views) this.#givenUp.set(view, 'definitions');
      return undefined;
    }
    const missing = this.#missing(chunkEnd);
    if (missing.size === 0 && this.#passed.size < PASSED_MAX) return undefined;
    return this.#ask(chunkEnd, missing, this.#stream);
  }

  /**
   * Reads a message that is passed on at once, since nothing is needed. It may be needed later to
   * understand others.
   */
  note(buffer: Buffer, start: number, end: number): void {
    this.#window.read(buffer, start, end);
    this.#passedCount = this.#window.count;
    this.#window.pass(this.#passedCount);
  }

  /** The messages before this number have been passed on. */
  passed(message: number, bytes: number): void {
    this.#waitingBytes -= bytes;
    this.#passedCount = message;
    for (const xid of this.#window.pass(message)) this.#passed.add(xid);
    this.#options.joins().tidy(this.#options.cacheBytesMax);
  }

  async #ask(chunkEnd: number, missing: Missing, stream: number): Promise<void> {
    let session: LookupSession | undefined;
    try {
      this.#checkBounds(stream);
      session = await this.#open(missing, stream);
      await this.#fill(session, chunkEnd, missing, stream);
    } catch (error) {
      if (stream !== this.#stream) return;
      const why =
        error instanceof Failed ? error.why : error instanceof TooManyRowsFound ? ('rows' as const) : 'unavailable';
      this.#options.onFailed(why, error as Error);
      for (const values of this.#missing(chunkEnd).values())
        for (const views of values.values()) for (const view of views) this.#givenUp.set(view, why);
    } finally {
      void session?.end();
    }
  }

  /** Takes a snapshot that sees everything that was passed on. */
  async #open(missing: Missing, stream: number): Promise<LookupSession> {
    const { joins, pool, pause, now, rowsMax } = this.#options;
    const tables = missing.size === 0 ? joins().tables : tablesOf(missing);
    const until = now() + VISIBLE_MS_MAX;
    for (let attempt = 0; ; attempt++) {
      let session: LookupSession;
      try {
        session = await LookupSession.open(pool, tables, rowsMax);
      } catch (error) {
        if (stream !== this.#stream || now() >= until || !isUnreachable(error)) throw error;
        await pause(attempt);
        continue;
      }
      const { visibility } = session;
      for (const xid of this.#passed) if (visibility.sees(xid)) this.#passed.delete(xid);
      if (this.#passed.size === 0 && stream === this.#stream) return session;
      await session.end();
      if (stream !== this.#stream) throw new Error('another stream has begun');
      if (now() >= until) throw new Failed('unavailable', 'queries do not see the latest commits yet');
      await pause(attempt);
    }
  }

  async #fill(session: LookupSession, chunkEnd: number, first: Missing, stream: number): Promise<void> {
    if (first.size === 0) return;
    const tables = new Set(tablesOf(first));
    const marker = this.#marker(stream);
    // awaited below, but may fail before
    marker.catch(() => undefined);
    for (let missing = first; missing.size > 0; missing = this.#missing(chunkEnd)) {
      this.#options.onAsked([...missing.values()].reduce((sum, { size }) => sum + size, 0));
      const found = await session.find(missing);
      await marker;
      if (stream !== this.#stream) throw new Error('another stream has begun');
      undo(found, this.#seenChanges(session.visibility, tables));
      for (const [index, lookups] of found) for (const [value, rows] of lookups) index.fill(value, rows);
    }
  }

  /** Resolves when the stream has delivered everything that was committed before the call. */
  #marker(stream: number): Promise<void> {
    const id = randomUUID();
    return new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => end(new Failed('unavailable', 'the marker did not arrive')), MARKER_MS_MAX);
      const end = (error?: Error) => {
        clearTimeout(timer);
        if (this.#onRead === onRead) this.#onRead = undefined;
        if (error === undefined) resolve();
        else reject(error);
      };
      const onRead = () => {
        try {
          // another question has begun
          if (this.#onRead !== onRead) throw new Error('the question was given up');
          this.#checkBounds(stream);
          if (this.#window.hasArrived) end();
        } catch (error) {
          end(error as Error);
        }
      };
      this.#onRead = onRead;
      this.#window.expect(id);
      this.#options.mark(id).catch((error: unknown) => end(error as Error));
    });
  }

  /** Throws if what waits cannot be answered. */
  #checkBounds(stream: number): void {
    if (stream !== this.#stream) throw new Error('another stream has begun');
    if (this.#waitingBytes > WAITING_BYTES_MAX)
      throw new Failed('lookahead', `more than ${WAITING_BYTES_MAX >> 20} MB of the WAL arrived meanwhile`);
  }

  #missing(chunkEnd: number): Missing {
    const changes: Change[] = [];
    for (const { message, change, isFresh } of this.#window.entries)
      if (message < chunkEnd && isFresh && change !== undefined) changes.push(change);
    return this.#options.joins().missing(changes, new Set(this.#givenUp.keys()));
  }

  /** The waiting changes that the snapshot sees. Throws if one cannot be undone. */
  #seenChanges(visibility: Visibility, tables: ReadonlySet<KnownTable>): readonly Change[] {
    const changes: Change[] = [];
    for (const { xid, change, table } of this.#window.entries) {
      if (!tables.has(table) || !visibility.sees(xid)) continue;
      if (change === undefined)
        throw new Failed('truncate', `${table.table.name} was truncated or redefined, or a row is unreadable`);
      changes.push(change);
    }
    return changes;
  }
}

/** Whether the connection is at fault: it may work again soon, or the stream ends as well. */
function isUnreachable(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code) || /^(08|53300|57P)/.test(code);
}

/** All tables of the views that lack something. */
function tablesOf(missing: Missing): Iterable<KnownTable> {
  const tables = new Set<KnownTable>();
  for (const values of missing.values())
    for (const views of values.values())
      for (const { parts } of views) for (const { known } of parts) tables.add(known);
  return tables;
}
