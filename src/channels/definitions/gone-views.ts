/**
 * Remembers views that were declared and are no longer in the catalog: a migration may be about to
 * create them again.
 */
import type { Catalog } from '../catalog/catalog.ts';
import { type Pattern, parsePattern } from '../catalog/pattern.ts';
import type { Refusal } from '../channel.ts';

export type DeclaredView = Pick<Refusal, 'schema' | 'pattern'>;

/** Maximum number of remembered views; the oldest is dropped first. */
const GONE_MAX = 1_000;

/** The views of a catalog, by their keys. */
export function declaredIn({ channels, access }: Catalog): ReadonlyMap<string, DeclaredView> {
  const views = [
    ...channels.map(({ pattern }): DeclaredView => ({ schema: 'channels', pattern })),
    ...access.map(({ schema, pattern }): DeclaredView => ({ schema, pattern })),
  ];
  return new Map(views.map((view) => [viewKey(view), view]));
}

export function viewKey({ schema, pattern }: DeclaredView): string {
  return `${schema}:${pattern}`;
}

export class GoneViews {
  #declared: ReadonlyMap<string, DeclaredView> = new Map();
  /** Gone views by key, the first dropped first. */
  readonly #gone = new Map<string, DeclaredView>();

  /**
   * Sets the currently declared views. Returns the views that were dropped, and the gone views that
   * exist again.
   */
  take(declared: ReadonlyMap<string, DeclaredView>): {
    readonly left: readonly DeclaredView[];
    readonly returned: readonly DeclaredView[];
  } {
    const left = [...this.#declared].filter(([key]) => !declared.has(key));
    const returned = [...this.#gone].filter(([key]) => declared.has(key));
    for (const [key, view] of left) this.#gone.set(key, view);
    for (const [key] of returned) this.#gone.delete(key);
    for (const key of this.#gone.keys()) if (this.#gone.size > GONE_MAX) this.#gone.delete(key);
    this.#declared = declared;
    return { left: left.map(([, view]) => view), returned: returned.map(([, view]) => view) };
  }

  has(view: DeclaredView): boolean {
    return this.#gone.has(viewKey(view));
  }

  /** The patterns of the gone views of all schemas. */
  patterns(): readonly Pattern[] {
    return patternsOf(this.#gone.values());
  }
}

function patternsOf(views: Iterable<DeclaredView>): Pattern[] {
  const patterns = [...new Set([...views].map(({ pattern }) => pattern))].map((text) => parsePattern(text));
  return patterns.filter((pattern): pattern is Pattern => !(pattern instanceof Error));
}
