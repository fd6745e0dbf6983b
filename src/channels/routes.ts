/**
 * The routes of rows: each channel view, bound to its table as the WAL describes it. Also reports
 * views that do not fit their tables.
 */
import type { Relation } from '../decode/relation.ts';
import { SnoError } from '../errors.ts';
import type { PatternCounts } from '../metrics/patterns.ts';
import type { BoundView, ChannelView } from './channel.ts';
import type { RemoteAnswers } from './remote-answers.ts';

export interface ChannelViews {
  /** The channel views on the table. */
  viewsOf(tableOid: number): readonly ChannelView[];
}

export interface FitEvents {
  /**
   * A commit's rows could not be evaluated: the view does not fit the table, even by the
   * definitions at the end of that commit.
   */
  unfit(pattern: string, error: SnoError): void;
  /** A view that was reported as unfit fits its table again. */
  fit(pattern: string): void;
}

export interface Route {
  readonly pattern: string;
  readonly counts: PatternCounts;
  /** Undefined if the view does not fit the table. */
  readonly bound: BoundView | undefined;
  /** The reason why it does not fit. */
  readonly misfit: SnoError | undefined;
}

export interface BoundRoute extends Route {
  readonly bound: BoundView;
}

const NO_ROUTES: readonly Route[] = [];

export class Routes {
  readonly #views: ChannelViews;
  readonly #answers: RemoteAnswers;
  readonly #events: FitEvents;
  readonly #countsOf: (pattern: string) => PatternCounts;
  /** By the table's oid. */
  readonly #routes = new Map<number, readonly Route[]>();
  /**
   * The patterns whose rows were dropped in this commit, because their views did not fit, with the
   * oids of their tables.
   */
  readonly #givenUp = new Map<string, number>();
  /** The patterns reported as unfit. */
  readonly #unfit = new Set<string>();

  constructor(
    views: ChannelViews,
    answers: RemoteAnswers,
    events: FitEvents,
    countsOf: (pattern: string) => PatternCounts,
  ) {
    this.#views = views;
    this.#answers = answers;
    this.#events = events;
    this.#countsOf = countsOf;
  }

  /** Binds the views on a table to it. Returns whether any view reads the table. */
  bind(relation: Relation): boolean {
    const routes: Route[] = [];
    for (const view of this.#views.viewsOf(relation.oid)) {
      const pattern = view.pattern.text;
      const bound = view.bind(relation, this.#answers);
      const isMisfit = bound instanceof SnoError;
      routes.push({
        pattern,
        counts: this.#countsOf(pattern),
        bound: isMisfit ? undefined : bound,
        misfit: isMisfit ? bound : undefined,
      });
    }
    this.#routes.set(relation.oid, routes);
    return routes.length > 0;
  }

  of(relation: Relation): readonly Route[] {
    return this.#routes.get(relation.oid) ?? NO_ROUTES;
  }

  /** Drops the tables. */
  clear(): void {
    this.#routes.clear();
    this.#givenUp.clear();
  }

  /** A commit begins. */
  begin(): void {
    this.#givenUp.clear();
  }

  /** Rows of this commit are dropped, since the view does not fit. */
  giveUp({ pattern }: Route, relation: Relation): void {
    this.#givenUp.set(pattern, relation.oid);
  }

  /**
   * Reports views that do not fit their tables by the definitions at the end of the commit. If one
   * transaction alters a table and its view, and writes rows, the view fits again by then.
   */
  reportFit(): void {
    if (this.#givenUp.size === 0 && this.#unfit.size === 0) return;
    for (const [pattern, oid] of this.#givenUp) {
      const misfit = this.#routes.get(oid)?.find((route) => route.pattern === pattern)?.misfit;
      if (misfit === undefined || this.#unfit.has(pattern)) continue;
      this.#unfit.add(pattern);
      this.#events.unfit(pattern, misfit);
    }
    for (const pattern of this.#unfit) {
      const routes = [...this.#routes.values()].flat().filter((route) => route.pattern === pattern);
      if (routes.some(({ misfit }) => misfit !== undefined)) continue;
      this.#unfit.delete(pattern);
      // a dropped or refused view is reported elsewhere
      if (routes.length > 0) this.#events.fit(pattern);
    }
  }
}
