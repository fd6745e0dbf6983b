/**
 * Finds the joined rows that Postgres must evaluate: applies the waiting changes to the known rows,
 * collects the joined rows before and after each change, and undoes the changes. The rows may
 * include some that are not needed later. If a needed row is missing, the view is reset.
 */
import { NULL, type Tuple } from '../../decode/tuple.ts';
import type { RemoteQuery, RowsToAsk } from '../channel.ts';
import { contentOf, type RemoteAnswer, type RemoteAnswers } from '../remote-answers.ts';
import { RowError } from '../values/row-error.ts';
import { type Evaluated, Evaluation, TooManyRows } from './evaluation.ts';
import { type JoinedView, UnknownRows } from './joined-view.ts';
import type { Joins } from './joins.ts';
import type { WindowEntry } from './waiting-changes.ts';

class CollectedRows implements RowsToAsk {
  readonly query: RemoteQuery;
  readonly rows: {
    readonly commits: number[];
    readonly keyOnly: boolean[];
    readonly texts: readonly (Buffer | null)[][];
  };
  readonly #positions: readonly number[];
  readonly #pattern: string;
  readonly #answers: RemoteAnswers;
  readonly #contents: string[] = [];
  readonly #known = new Set<string>();

  constructor(view: JoinedView, { query, positions }: NonNullable<JoinedView['asked']>, answers: RemoteAnswers) {
    this.query = query;
    this.rows = { commits: [], keyOnly: [], texts: positions.map(() => []) };
    this.#positions = positions;
    this.#pattern = view.pattern;
    this.#answers = answers;
  }

  add(row: Tuple, commit: number): void {
    const content = contentOf(row);
    if (this.rows.commits.at(-1) !== commit) this.#known.clear();
    if (this.#known.has(content)) return;
    this.#known.add(content);
    this.#contents.push(content);
    this.rows.commits.push(commit);
    this.rows.keyOnly.push(false);
    for (const [index, position] of this.#positions.entries()) {
      const isNull = row.kinds[position] === NULL;
      const text = isNull ? null : Buffer.from(row.buffer.subarray(row.starts[position], row.ends[position]));
      this.rows.texts[index]?.push(text);
    }
  }

  put(answers: readonly RemoteAnswer[], from: number): void {
    for (const [index, answer] of answers.entries()) {
      const at = from + index;
      this.#answers.putJoined(this.rows.commits[at] as number, this.#pattern, this.#contents[at] as string, answer);
    }
  }
}

export interface RehearsalOptions {
  readonly joins: Joins;
  readonly answers: RemoteAnswers;
  readonly rowsMax: number;
  /** Views that are not evaluated. */
  readonly without: ReadonlySet<JoinedView>;
}

/** Leaves the known rows unchanged. */
export function rehearse(entries: Iterable<WindowEntry>, options: RehearsalOptions): readonly RowsToAsk[] {
  const undo: (() => void)[] = [];
  try {
    return [...collect(entries, undo, options).values()];
  } finally {
    for (const takeBack of undo.reverse()) takeBack();
  }
}

function collect(
  entries: Iterable<WindowEntry>,
  undo: (() => void)[],
  { joins, answers, rowsMax, without }: RehearsalOptions,
): ReadonlyMap<JoinedView, CollectedRows> {
  const found = new Map<JoinedView, CollectedRows>();
  const evaluation = new Evaluation(rowsMax);
  const broken = new Set(without);
  const ended = new Set<JoinedView>();
  let commit: number | undefined;
  const emit = (view: JoinedView, before: Tuple | undefined, after: Tuple | undefined) => {
    if (view.asked === undefined || commit === undefined) return;
    const rows = found.get(view) ?? new CollectedRows(view, view.asked, answers);
    found.set(view, rows);
    if (before !== undefined) rows.add(before, commit);
    if (after !== undefined) rows.add(after, commit);
  };
  for (const { xid, isFresh, table, change, lost } of entries) {
    if (xid !== commit) {
      commit = xid;
      evaluation.begin();
      ended.clear();
    }
    const views = joins.viewsOf(table).filter((view) => view.asked !== undefined && !broken.has(view));
    if (change === undefined) {
      // without its joined rows, a view is reset; after a TRUNCATE, its next commit is evaluated
      for (const view of views)
        if (view.placesOf(table).join() !== '0') (lost === 'truncate' ? ended : broken).add(view);
      if (lost === 'truncate') for (const index of table.indexes) undo.push(index.truncate());
      continue;
    }
    const evaluated: Evaluated[] = [];
    for (const view of views) {
      const places = !isFresh || ended.has(view) ? [] : view.changedPlaces(change);
      if (places.length > 0) guarded(view, ended, () => evaluated.push(evaluation.before(view, change, places)));
    }
    table.apply(change.oldRow, change.newRow);
    undo.push(() => table.apply(change.newRow, change.oldRow));
    for (const each of evaluated) guarded(each.view, ended, () => evaluation.after(each, emit));
  }
  return found;
}

/** Leaves the view out if `work` fails: it fails again later, and the view is reset then. */
function guarded(view: JoinedView, ended: Set<JoinedView>, work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof TooManyRows || error instanceof RowError || error instanceof UnknownRows)) throw error;
    ended.add(view);
  }
}
