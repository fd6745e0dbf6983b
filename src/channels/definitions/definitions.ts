/**
 * Keeps the registry at the definitions that are in force at the current point of the WAL.
 *
 * At start the current catalog is loaded, though earlier WAL may be read again. The definitions of
 * that time are unknown, so the loaded ones apply to that WAL too. A view whose definition differed
 * then is listed as touched by a message between. It counts as changed at that message, so no
 * client continues across it. A message from before the load is applied if the load did not see its
 * transaction.
 *
 * If the stream breaks within a commit, it sends the commit again, with its messages. So the
 * definitions go back to those before the commit.
 *
 * A message lacks the catalog if its transaction could not read it. The definitions are then
 * unknown until this process has read the catalog. Access checks wait for that.
 */
import { timingSafeEqual } from 'node:crypto';
import { SnoError } from '../../errors.ts';
import type { Lsn } from '../../lsn.ts';
import type { AccessSchema, Catalog } from '../catalog/catalog.ts';
import { applyChange } from '../catalog/change.ts';
import { type CatalogMessage, type CatalogRead, parseCatalogMessage } from '../catalog/reader.ts';
import { DefinitionsGate } from '../served/gate.ts';
import type { LoadResult } from './entry.ts';
import type { ChannelRegistry } from './registry.ts';

/** `how` is an AccessSchema if only the answers of that view changed, not the channel's rows. */
export type Redefinition = readonly [pattern: string, how: 'changed' | 'dropped' | AccessSchema];

export interface DefinitionsOptions {
  readonly registry: ChannelRegistry;
  /** Receives the changes that a new catalog makes to its views. */
  readonly onLoad: (result: LoadResult) => void;
  /** The catalog has changed, and must be reported in the WAL again. */
  readonly onUnreported: () => void;
  /** Called when the definitions become known or unknown. */
  readonly onKnown: (isKnown: boolean) => void;
}

export class Definitions {
  readonly registry: ChannelRegistry;
  readonly #options: DefinitionsOptions;
  #loadedAt: Lsn = 0;
  /** Whether the loaded catalog certainly shows a transaction. */
  #shows: (transaction: bigint) => boolean = () => false;
  #key = '';
  #catalog: Catalog | undefined;
  /** The catalog before the commit that is being read. Undefined: this commit has no message. */
  #before: Catalog | undefined;
  #unreportedCount = 0;
  #messageCount = 0;
  readonly #gate = new DefinitionsGate();

  constructor(options: DefinitionsOptions) {
    this.registry = options.registry;
    this.#options = options;
  }

  /** The catalog in force; undefined before the first one was loaded. */
  get catalog(): Catalog | undefined {
    return this.#catalog;
  }

  /**
   * Resolves when the definitions at this point of the WAL are known; undefined if they already
   * are.
   */
  get known(): Promise<void> | undefined {
    return this.#gate.known;
  }

  /** Number of messages received without the catalog. */
  get unreportedCount(): number {
    return this.#unreportedCount;
  }

  /** Number of messages in the stream for the reader of this publication. */
  get messageCount(): number {
    return this.#messageCount;
  }

  /**
   * Call this after loading a catalog that was read after the first `unreportedCount` messages
   * without one.
   */
  confirm(unreportedCount: number): void {
    if (unreportedCount === this.#unreportedCount) this.#setKnown(true);
  }

  /**
   * Loads the catalog that a query read when the WAL ended at `lsn`. Messages that follow must
   * carry the key.
   */
  load({ catalog, snapshot }: CatalogRead, lsn: Lsn, key: string): readonly Redefinition[] {
    this.#loadedAt = lsn;
    this.#shows = visibleIn(snapshot);
    this.#key = key;
    this.#before = undefined;
    const redefinitions = this.#take(catalog);
    this.confirm(this.#unreportedCount);
    return redefinitions;
  }

  /** The commit that was being read has ended. */
  committed(): void {
    this.#before = undefined;
  }

  /**
   * The commit that was being read will be read again, from its start. Returns whether the
   * definitions went back.
   */
  rollBack(): boolean {
    const before = this.#before;
    if (before === undefined) return false;
    this.#before = undefined;
    this.#catalog = before;
    this.registry.load(before);
    return true;
  }

  /**
   * Loads the catalog from a `sno.catalog` message at `lsn`. Throws `setup_required` if it has
   * another version.
   */
  message(json: string, lsn: Lsn): readonly Redefinition[] {
    const message = parseCatalogMessage(json);
    const { key, publication, touched, voided, transaction } = message;
    if (!isSame(key, this.#key)) throw new SnoError('setup_required', 'it was not written by sno.send_catalog()');
    if ((publication ?? this.registry.publication) !== this.registry.publication) return [];
    this.#messageCount++;
    this.#before ??= this.#catalog;
    const isBefore = lsn <= this.#loadedAt;
    // the loaded catalog already shows the transaction: it stays in force, and the touched views
    // count as changed
    if (isBefore && this.#catalog !== undefined && (transaction === undefined || this.#shows(BigInt(transaction))))
      return this.#take(this.#catalog, touched);
    const catalog = this.#after(message);
    // the known definitions stay in force until the new ones are read, and the touched views count
    // as changed
    if (catalog === undefined && this.#catalog !== undefined) {
      this.#unreportedCount++;
      this.#setKnown(false);
      this.#options.onUnreported();
      return this.#take(this.#catalog, touched);
    }
    if (isBefore) return this.#take(orThrow(catalog), touched);
    // access is checked again after every change below an access view, such as a refresh of a
    // materialized view
    const asked = [...touched].filter((view) => !view.startsWith('channels:'));
    return this.#take(orThrow(catalog), new Set([...voided, ...asked]));
  }

  /** The catalog after a message; undefined if the message does not suffice to know it. */
  #after({ catalog, views }: CatalogMessage): Catalog | SnoError | undefined {
    if (catalog === undefined || catalog instanceof SnoError || views === undefined) return catalog;
    return this.#catalog === undefined ? undefined : applyChange(this.#catalog, catalog, views);
  }

  #setKnown(isKnown: boolean): void {
    if (isKnown === (this.known === undefined)) return;
    this.#gate.set(isKnown);
    this.#options.onKnown(isKnown);
  }

  #take(catalog: Catalog, touched?: ReadonlySet<string>): readonly Redefinition[] {
    this.#catalog = catalog;
    const result = this.registry.load(catalog, touched);
    this.#options.onLoad(result);
    return [
      ...[...result.changed].map((pattern): Redefinition => [pattern, 'changed']),
      ...[...result.dropped].map((pattern): Redefinition => [pattern, 'dropped']),
      ...[...result.accessChanged].map(accessRedefinition),
    ];
  }
}

function accessRedefinition(view: string): Redefinition {
  const colon = view.indexOf(':');
  return [view.slice(colon + 1), view.slice(0, colon) as AccessSchema];
}

/** Parses the output of pg_current_snapshot(): `xmin:xmax:running,running`. */
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
