/**
 * The results of a channel view for the rows of its table as the WAL has them, in process or by
 * Postgres.
 */
import type pg from 'pg';
import type { ChannelView } from '../../src/channels/channel.ts';
import { RemoteAsker } from '../../src/channels/remote/ask.ts';
import { RemoteAnswers } from '../../src/channels/remote-answers.ts';
import { RowError } from '../../src/channels/values/row-error.ts';
import { SnoError } from '../../src/errors.ts';
import { createPool } from '../../src/postgres/connect.ts';
import { quoteIdentifier } from '../../src/postgres/quote.ts';
import type { TestDatabase } from '../support/postgres.ts';
import { ownAnswer } from './answers.ts';
import { catalogOf, compileIn } from './compiled.ts';
import { relationOf, tupleOf } from './rows.ts';

/**
 * By view name, in the order of the table's ids: the row's JSON, `out`, or the error. A refused
 * view has its refusal.
 */
export type Answers = Record<string, readonly string[]>;

export class LiveAnswers {
  readonly pool: pg.Pool;
  readonly #database: TestDatabase;
  readonly #asker: RemoteAsker;

  constructor(database: TestDatabase) {
    this.#database = database;
    this.pool = createPool(database.url, 'query', 1);
    this.#asker = new RemoteAsker({
      pool: this.pool,
      pause: async () => undefined,
      onUnreachable: (error) => {
        throw error;
      },
    });
  }

  close(): Promise<void> {
    return this.pool.end();
  }

  /** Answers of all channel views. `before` runs once they have been compiled. */
  async live(before: () => Promise<void> = async () => undefined): Promise<Answers> {
    const catalog = await catalogOf(this.#database);
    const views = catalog.channels.map(({ pattern }) => [pattern, compileIn(catalog, pattern)] as const);
    await before();
    const answers: Answers = {};
    for (const [pattern, view] of views)
      answers[pattern] = view instanceof SnoError ? [`refused: ${view.message}`] : await this.#answersOf(view);
    return answers;
  }

  /** Answers of SELECT. */
  async selected(): Promise<Answers> {
    const { rows } = await this.pool.query<{ name: string }>(
      `select relname as name from pg_class where relnamespace = 'channels'::regnamespace and relkind = 'v' order by oid`,
    );
    const answers: Answers = {};
    for (const { name } of rows) {
      await this.#takePathOf(name);
      const data = await this.pool
        .query<{ id: string; data: string }>(
          `select id, row_to_json(v.*)::text as data from channels.${quoteIdentifier(name)} v order by id::int`,
        )
        .then((result) => result.rows.map((row) => row.data))
        .catch((error: Error) => [error.message]);
      answers[name] = data;
    }
    await this.pool.query('reset search_path');
    return answers;
  }

  /** Gives the pool's one connection the search_path of the view's owner. */
  async #takePathOf(pattern: string): Promise<void> {
    const path = '(select sno.search_path(relowner) from pg_class where oid = $1::regclass)';
    await this.pool.query(`select set_config('search_path', ${path}, false)`, [`channels.${quoteIdentifier(pattern)}`]);
  }

  async #answersOf(view: ChannelView): Promise<readonly string[]> {
    const { schema, name, columns } = view.tables[0];
    const names = columns.map((column) => quoteIdentifier(column.name));
    // expressions of indexes are read too
    await this.#takePathOf(view.pattern.text);
    const { rows } = await this.pool.query<(string | null)[]>({
      text: `select ${names.join(', ')} from ${quoteIdentifier(schema)}.${quoteIdentifier(name)} order by id`,
      rowMode: 'array',
    } as never);
    await this.pool.query('reset search_path');
    if (view.remote === undefined) {
      const bound = view.bind(relationOf(view.tables[0]), new RemoteAnswers());
      if (bound instanceof SnoError) throw bound;
      return rows.map((row) => ownAnswer(bound, tupleOf(row))).filter((answer) => answer !== 'out');
    }
    const places = view.remote.columns.map((column) => columns.findIndex((each) => each.name === column.name));
    const found = await this.#asker.ask(view.remote, {
      // one commit: an error of one row fails the SELECT too
      commits: rows.map(() => 1),
      keyOnly: rows.map(() => false),
      texts: places.map((place) => rows.map((row) => (row[place] == null ? null : Buffer.from(row[place] as string)))),
    });
    const error = found.find((answer) => answer instanceof RowError);
    if (error !== undefined) return [error.message];
    return found.flatMap((answer) => (answer === undefined || answer instanceof RowError ? [] : [String(answer.data)]));
  }
}
