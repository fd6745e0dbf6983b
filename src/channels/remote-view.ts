/**
 * A channel view that Postgres evaluates: its own definition is run over the rows as the WAL brought them, in place of
 * the table. So every answer is Postgres's, whatever the view computes.
 */
import type { Bytes } from '../bytes.ts';
import type { Relation } from '../decode/relation.ts';
import type { Tuple } from '../decode/tuple.ts';
import { quoteIdentifier } from '../postgres/quote.ts';
import { bindPlan, type ViewPlan } from './bound-view.ts';
import type { CatalogTableColumn } from './catalog.ts';
import type { BoundView, RemoteQuery } from './channel.ts';
import type { IndexOf } from './evaluate.ts';
import type { ParsedView } from './parse.ts';
import { writeEncodedValue } from './pattern.ts';
import type { RemoteAnswers, RemoteRow, Side } from './remote-answers.ts';

/**
 * The query: `$1` says of each row whether only its key is known; then come the columns, each a text array.
 * One result row a row, in order: `sno_in`, `sno_data`, and the placeholders' texts `sno_v0`, `sno_v1`, ...
 */
export function remoteQuery(
  parsed: ParsedView,
  placeholders: readonly string[],
  columns: readonly CatalogTableColumn[],
  generated: readonly CatalogTableColumn[],
): RemoteQuery {
  const alias = quoteIdentifier(parsed.table.alias);
  const arrays = columns.map((_, index) => `$${index + 2}::text[]`);
  const names = columns.map((_, index) => `c${index}`);
  const row = columns.map((column, index) => `u.c${index}::${column.type} as ${quoteIdentifier(column.name)}`);
  // generated columns do not come in the WAL, but what they are generated from does
  const made = generated.map(({ name, expression }) => `, (${expression}) as ${quoteIdentifier(name)}`).join('');
  const where = parsed.whereSql === undefined ? '' : ` where ${parsed.whereSql}`;
  const values = placeholders.map((name, index) => `r.${quoteIdentifier(name)}::text as sno_v${index}, `);
  return {
    columns,
    valueCount: placeholders.length,
    sql:
      'select v.* ' +
      `from unnest(${['$1::boolean[]', ...arrays].join(', ')}) with ordinality u(${['k', ...names, 'n'].join(', ')}) ` +
      `left join lateral (select true as sno_in, ${values.join('')}` +
      'case when u.k then null else row_to_json(r.*)::text end as sno_data ' +
      `from (select ${parsed.targetsSql} from (select b.*${made} from (select ${row.join(', ')}) b) ${alias}${where}) r) v on true order by u.n`,
  };
}

/** `plan` needs its key only; the rest is asked of Postgres. */
export function bindRemote(plan: ViewPlan, indexOf: IndexOf, relation: Relation, answers: RemoteAnswers): BoundView {
  return new RemoteBoundView(plan, indexOf, relation, answers);
}

class RemoteBoundView implements BoundView {
  readonly #pattern: string;
  readonly #literals: readonly Buffer[];
  readonly #local: BoundView;
  readonly #relation: Relation;
  readonly #answers: RemoteAnswers;

  constructor(plan: ViewPlan, indexOf: IndexOf, relation: Relation, answers: RemoteAnswers) {
    this.#pattern = plan.pattern.text;
    this.#literals = plan.pattern.literals.map((literal) => Buffer.from(literal));
    this.#local = bindPlan({ ...plan, outputs: [], placeholders: [], where: undefined }, indexOf);
    this.#relation = relation;
    this.#answers = answers;
  }

  matches(row: Tuple): boolean {
    return this.#answer(row) !== undefined;
  }

  channel(row: Tuple, out: Bytes): boolean {
    const values = this.#answer(row)?.placeholders ?? [];
    if (values.includes(null)) return false;
    out.append(this.#literals[0] as Buffer);
    for (const [index, value] of (values as readonly Buffer[]).entries()) {
      writeEncodedValue(value, 0, value.length, out);
      out.append(this.#literals[index + 1] as Buffer);
    }
    return true;
  }

  key(row: Tuple, out: Bytes): void {
    this.#local.key(row, out);
  }

  data(row: Tuple, out: Bytes): boolean {
    const data = this.#answer(row)?.data;
    if (data == null) return false;
    out.append(data);
    return true;
  }

  differs(oldRow: Tuple, newRow: Tuple): boolean {
    if (oldRow.keyOnly) return true;
    const [before, after] = [this.#answer(oldRow)?.data, this.#answer(newRow)?.data];
    return before == null || after == null || !before.equals(after);
  }

  keyDiffers(oldRow: Tuple, newRow: Tuple): boolean {
    return this.#local.keyDiffers(oldRow, newRow);
  }

  #answer(row: Tuple): RemoteRow | undefined {
    const side: Side = row === this.#relation.newRow ? 'newRow' : 'oldRow';
    return this.#answers.take(row, this.#pattern, side);
  }
}
