/**
 * A channel as rows that are kept live.
 */
import type { ChangeEvent, Key } from '../protocol.ts';
import { Emitter } from './emitter.ts';
import type { SnoClientError } from './error.ts';
import type { Commit } from './event.ts';
import { Handle } from './handle.ts';
import type { ChannelStatus, Delivery } from './machine.ts';
import { Rows } from './rows.ts';

export interface LiveUpdate<Row> {
  /** `snapshot`: all rows are new. `commit`: one transaction was applied. `status`: the rows are as they were. */
  readonly reason: 'snapshot' | 'commit' | 'status';
  readonly rows: readonly Row[];
  /** What the commit did; empty for the other reasons. */
  readonly changes: readonly ChangeEvent<Row>[];
  readonly commit: Commit<Row> | undefined;
  readonly status: ChannelStatus;
}

/** `SELECT * FROM` the channel, kept live. */
export interface LiveView<Row = unknown> {
  readonly channel: string;
  /** An immutable array; another one after each commit, the same one until then. Rows keep the order in which they came. */
  readonly rows: readonly Row[];
  readonly size: number;
  readonly status: ChannelStatus;
  readonly error: SnoClientError | undefined;
  /** Of the commit that `rows` stands at. */
  readonly position: string | undefined;
  /** Resolves when the rows are there; rejects with a SnoClientError where the channel ends before. */
  readonly ready: Promise<void>;
  /** `{ id: 1 }`, or `1` where the key is one column. */
  get(key: Key | string | number | boolean): Row | undefined;
  /** Called after each commit, snapshot and change of status; not at once. Returns what ends it. Bound: may be passed on as it is. */
  readonly subscribe: (callback: (update: LiveUpdate<Row>) => void) => () => void;
  close(): void;
}

const NONE: Rows<never> = new Rows<never>();

export class LiveHandle<Row> extends Handle implements LiveView<Row> {
  readonly #emitter = new Emitter<{ update: LiveUpdate<Row> }>();
  /** What it showed last, once it is closed. */
  #last: Rows<Row> | undefined;

  get rows(): readonly Row[] {
    return this.#rows.array;
  }

  get size(): number {
    return this.#rows.size;
  }

  get(key: Key | string | number | boolean): Row | undefined {
    return this.#rows.get(key);
  }

  override get status(): ChannelStatus {
    // Another handle's subscription is live; the snapshot for this one is only being asked for.
    return super.status === 'live' && !this.#rows.loaded ? 'syncing' : super.status;
  }

  readonly subscribe = (callback: (update: LiveUpdate<Row>) => void): (() => void) =>
    this.#emitter.on('update', callback);

  override close(): void {
    this.#last ??= this.#rows;
    super.close();
  }

  protected override tell(delivery: Delivery<Row>): void {
    if (delivery.kind === 'commit') this.#update('commit', delivery.commit);
    else if (delivery.kind === 'status') this.#update('status');
    else if (delivery.kind === 'joined') {
      if (delivery.rows !== undefined) this.#update('snapshot');
      else for (const item of delivery.items) if (item.kind === 'commit') this.#update('commit', item.commit);
    }
  }

  protected override silence(): void {
    this.#emitter.clear();
  }

  get #rows(): Rows<Row> {
    return this.#last ?? (this.connection.rows(this.channel) as Rows<Row> | undefined) ?? NONE;
  }

  #update(reason: LiveUpdate<Row>['reason'], commit?: Commit<Row>): void {
    const view = this;
    this.#emitter.emit('update', {
      reason,
      // Made only for who looks at it.
      get rows() {
        return view.rows;
      },
      changes: commit?.events ?? [],
      commit,
      status: this.status,
    });
  }
}
