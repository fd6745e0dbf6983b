/** A channel as rows that are kept live. */
import type { Key, SnapshotRow } from '../protocol.ts';
import { Emitter } from './emitter.ts';
import type { SnoClientError } from './error.ts';
import type { Change, Commit } from './event.ts';
import { Handle } from './handle.ts';
import { type CommitId, Reached, type ReachedOptions } from './reached.ts';
import { Rows } from './rows.ts';
import type { ChannelStatus, Delivery } from './state/machine.ts';

export interface LiveOptions {
  /** If access is denied or revoked, retry until it is granted. Default: false. */
  readonly waitForAccess?: boolean | undefined;
}

export interface LiveUpdate<Row> {
  /**
   * `snapshot`: all rows are new. `commit`: one transaction was applied. `status`: the rows are
   * unchanged.
   */
  readonly reason: 'snapshot' | 'commit' | 'status';
  readonly rows: readonly Row[];
  /** The commit's changes, with the rows before them; empty for the other reasons. */
  readonly changes: readonly Change<Row>[];
  readonly commit: Commit<Row> | undefined;
  readonly status: ChannelStatus;
}

/** `SELECT * FROM` the channel, kept live. */
export interface LiveView<Row = unknown> {
  readonly channel: string;
  /**
   * An immutable array: a new one after each commit, the same one until then. Rows keep the order
   * in which they arrived.
   */
  readonly rows: readonly Row[];
  readonly size: number;
  /** Whether rows have arrived. They stay when the connection is lost. */
  readonly loaded: boolean;
  readonly status: ChannelStatus;
  readonly error: SnoClientError | undefined;
  /** The position of the commit that `rows` reflects. */
  readonly position: string | undefined;
  /**
   * Resolves when the rows have been loaded. Rejects with a SnoClientError if the channel ends
   * before.
   */
  readonly ready: Promise<void>;
  /** `{ id: 1 }`, or `1` if the key is one column. A number may be given as its text: `'1'`. */
  get(key: Key | string | number | bigint | boolean): Row | undefined;
  /** The rows with their keys: `{ key: { id: 1 }, data: row }`. A new array at each call. */
  entries(): SnapshotRow<Row>[];
  /**
   * Resolves once `rows` includes the commit and everything committed before it: the moment to drop
   * an optimistic update. Rejects with `commit_invalid`, with the signal's reason, or if the view
   * ends first.
   */
  reached(commit: CommitId, options?: ReachedOptions): Promise<void>;
  /**
   * Calls the listener after each commit, snapshot and change of status, but not immediately.
   * Returns a function that removes it. The method is bound, so it may be passed on directly.
   */
  readonly subscribe: (callback: (update: LiveUpdate<Row>) => void) => () => void;
  close(): void;
}

const NONE: Rows<never> = new Rows<never>();

export class LiveHandle<Row> extends Handle implements LiveView<Row> {
  readonly #emitter = new Emitter<{ update: LiveUpdate<Row> }>();
  readonly #reached = new Reached((commit) => this.connection.ask(this.channel, commit));
  /** The rows at the time when the view was closed. */
  #last: Rows<Row> | undefined;

  get rows(): readonly Row[] {
    return this.#rows.array;
  }

  get size(): number {
    return this.#rows.size;
  }

  get loaded(): boolean {
    return this.#rows.loaded;
  }

  get(key: Key | string | number | bigint | boolean): Row | undefined {
    return this.#rows.get(key);
  }

  entries(): SnapshotRow<Row>[] {
    return this.#rows.entries();
  }

  override get status(): ChannelStatus {
    // Another handle's subscription is live, but the snapshot for this one has not arrived yet.
    return super.status === 'live' && !this.loaded ? 'syncing' : super.status;
  }

  readonly subscribe = (callback: (update: LiveUpdate<Row>) => void): (() => void) =>
    this.#emitter.on('update', callback);

  reached(commit: CommitId, options: ReachedOptions = {}): Promise<void> {
    return this.#reached.wait(commit, options, this.error);
  }

  override close(): void {
    // Other views of the channel, including later ones, change the same rows.
    this.#last ??= this.#rows.copy();
    super.close();
    this.#endWaits();
  }

  protected override tell(delivery: Delivery<Row>): void {
    switch (delivery.kind) {
      case 'commit':
        this.#reached.received(delivery.commit);
        this.#update('commit', delivery.commit);
        break;
      case 'joined':
        this.#joined(delivery);
        break;
      case 'reached':
        this.#reached.answered(delivery.commit);
        break;
      case 'reset':
        this.#reached.reset();
        break;
      case 'status':
        this.#endWaits();
        this.#update('status');
        break;
      case 'message':
      case 'position':
        break;
    }
  }

  protected override silence(): void {
    this.#emitter.clear();
  }

  #joined({ rows, items }: Extract<Delivery<Row>, { kind: 'joined' }>): void {
    const commits = items.flatMap((item) => (item.kind === 'commit' ? [item.commit] : []));
    for (const commit of commits) this.#reached.received(commit);
    this.#reached.joined();
    if (rows !== undefined) this.#update('snapshot');
    else for (const commit of commits) this.#update('commit', commit);
  }

  #endWaits(): void {
    const { error } = this;
    if (error !== undefined) this.#reached.end(error);
  }

  get #rows(): Rows<Row> {
    return this.#last ?? (this.connection.rows(this.channel) as Rows<Row> | undefined) ?? NONE;
  }

  #update(reason: LiveUpdate<Row>['reason'], commit?: Commit<Row>): void {
    const view = this;
    this.#emitter.emit('update', {
      reason,
      // computed only if it is read
      get rows() {
        return view.rows;
      },
      changes: commit === undefined ? [] : this.#rows.changesOf(commit),
      commit,
      status: this.status,
    });
  }
}
