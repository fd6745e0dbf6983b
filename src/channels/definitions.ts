/**
 * Keeps the registry at the definitions in force at each point of the WAL.
 *
 * At start the catalog is loaded as it is now, though WAL from before may be read again. What it said then is not known, and it holds
 * for that WAL too: whatever differs was touched by a message from before the load, and counts as changed there, so that nobody
 * continues across it. A transaction that the load did not see, though its message stands before it, is applied.
 *
 * A message may come without the catalog, where its transaction had no chance to read it: then what holds is not known until
 * it has been read, and who asks whether somebody may hear a channel waits for that.
 */
import { timingSafeEqual } from 'node:crypto';
import { SnoError } from '../errors.ts';
import type { Lsn } from '../lsn.ts';
import type { Catalog } from './catalog.ts';
import { applyChange } from './catalog-change.ts';
import { type CatalogMessage, type CatalogRead, parseCatalogMessage } from './catalog-reader.ts';
import { Certainty } from './certainty.ts';
import type { ResolvedChannel } from './channel.ts';
import type { ChannelRegistry, LoadResult } from './registry.ts';

/** `access`: the rows are what they were, but who may see them is not. */
export type Redefinition = readonly [pattern: string, how: 'changed' | 'dropped' | 'access'];

export interface DefinitionsOptions {
  readonly registry: ChannelRegistry;
  /** Hears what a new catalog says of its views. */
  readonly onLoad: (result: LoadResult) => void;
  /** The catalog has changed, and is to be told of again. */
  readonly onUntold: () => void;
  /** From here on it is known what the definitions are, or not. */
  readonly onKnown: (isKnown: boolean) => void;
}

export class Definitions {
  readonly registry: ChannelRegistry;
  readonly #options: DefinitionsOptions;
  #loadedAt: Lsn = 0;
  /** Whether the catalog that was loaded shows a transaction for certain. */
  #shows: (transaction: bigint) => boolean = () => false;
  #key = '';
  #catalog: Catalog | undefined;
  #untoldCount = 0;
  #messageCount = 0;
  readonly #certainty = new Certainty();

  constructor(options: DefinitionsOptions) {
    this.registry = options.registry;
    this.#options = options;
  }

  /** In force; undefined before the first was loaded. */
  get catalog(): Catalog | undefined {
    return this.#catalog;
  }

  resolve(name: string): ResolvedChannel | SnoError {
    return this.registry.resolve(name);
  }

  meant(name: string): string | undefined {
    return this.registry.meant(name);
  }

  /** Resolves when it is known what the definitions are at this point of the WAL; undefined: it is. */
  get known(): Promise<void> | undefined {
    return this.#certainty.known;
  }

  /** How many messages have come without the catalog. */
  get untoldCount(): number {
    return this.#untoldCount;
  }

  /** How many messages for the reader of this publication have come out of the stream. */
  get messageCount(): number {
    return this.#messageCount;
  }

  /** A catalog has come that was read after the first `untoldCount` messages without one had committed. */
  told(untoldCount: number): void {
    if (untoldCount === this.#untoldCount) this.#setKnown(true);
  }

  /** Takes the catalog as a query gave it when the WAL ended at `lsn`; messages that follow must have the key. */
  load({ catalog, snapshot }: CatalogRead, lsn: Lsn, key: string): readonly Redefinition[] {
    this.#loadedAt = lsn;
    this.#shows = visibleIn(snapshot);
    this.#key = key;
    const redefinitions = this.#take(catalog);
    this.told(this.#untoldCount);
    return redefinitions;
  }

  /** Takes the catalog out of a `sno.catalog` message at `lsn`; throws `setup_required` where it is of another version. */
  message(json: string, lsn: Lsn): readonly Redefinition[] {
    const message = parseCatalogMessage(json);
    const { key, publication, touched, voided, transaction } = message;
    if (!isSame(key, this.#key)) throw new SnoError('setup_required', 'it was not written by sno.send_catalog()');
    if ((publication ?? this.registry.publication) !== this.registry.publication) return [];
    this.#messageCount++;
    const isBefore = lsn <= this.#loadedAt;
    // the catalog that was read at start shows it: that holds, and what the transaction touched is void all the same
    if (isBefore && this.#catalog !== undefined && (transaction === undefined || this.#shows(BigInt(transaction))))
      return this.#take(this.#catalog, touched);
    const catalog = this.#after(message);
    // the definitions that are known hold until they have been read, and what was touched is void all the same
    if (catalog === undefined && this.#catalog !== undefined) {
      this.#untoldCount++;
      this.#setKnown(false);
      this.#options.onUntold();
      return this.#take(this.#catalog, touched);
    }
    if (isBefore) return this.#take(orThrow(catalog), touched);
    // who may see a channel is asked again whatever was touched below its access view, as a materialized view that is refreshed
    const asked = [...touched].filter((view) => view.startsWith('channel_access:'));
    return this.#take(orThrow(catalog), new Set([...voided, ...asked]));
  }

  /** The catalog after a message; undefined where it cannot be known from that. */
  #after({ catalog, views }: CatalogMessage): Catalog | SnoError | undefined {
    if (catalog === undefined || catalog instanceof SnoError || views === undefined) return catalog;
    return this.#catalog === undefined ? undefined : applyChange(this.#catalog, catalog, views);
  }

  #setKnown(isKnown: boolean): void {
    if (isKnown === (this.known === undefined)) return;
    this.#certainty.set(isKnown);
    this.#options.onKnown(isKnown);
  }

  #take(catalog: Catalog, touched?: ReadonlySet<string>): readonly Redefinition[] {
    this.#catalog = catalog;
    const result = this.registry.load(catalog, touched);
    this.#options.onLoad(result);
    return [
      ...[...result.changed].map((pattern): Redefinition => [pattern, 'changed']),
      ...[...result.dropped].map((pattern): Redefinition => [pattern, 'dropped']),
      ...[...result.accessChanged].map((pattern): Redefinition => [pattern, 'access']),
    ];
  }
}

/** By what pg_current_snapshot() prints: `xmin:xmax:running,running`. */
function visibleIn(snapshot: string): (transaction: bigint) => boolean {
  const [xmin = '', xmax = '', list = ''] = snapshot.split(':');
  const running = new Set(list.split(','));
  return (transaction) =>
    transaction < BigInt(xmin) || (transaction < BigInt(xmax) && !running.has(String(transaction)));
}

function orThrow(catalog: Catalog | SnoError | undefined): Catalog {
  if (catalog === undefined) throw new SnoError('setup_required', 'a catalog came before the first one was read');
  if (catalog instanceof SnoError) throw catalog;
  return catalog;
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && left.length > 0 && timingSafeEqual(left, right);
}
