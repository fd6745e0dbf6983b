/**
 * The TypeScript types of what row_to_json makes of each Postgres type. The cases follow Postgres's
 * own (json_categorize_type): only six types are numbers, each other scalar is a string.
 */
import type pg from 'pg';

/** The declarations that the texts of `JsonTypes` use. */
export const DECLARATIONS = `/** Any JSON value: a column of type json or jsonb. */
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** A floating-point number or a numeric. JSON has no form of its own for the other three. */
export type Float = number | 'NaN' | 'Infinity' | '-Infinity';
`;

const BOOL = 16;
const INTEGERS: ReadonlySet<number> = new Set([20, 21, 23]);
const FLOATS: ReadonlySet<number> = new Set([700, 701, 1700]);
const JSONS: ReadonlySet<number> = new Set([114, 3802]);
const INT8 = 20;

interface TypeRow {
  readonly oid: number;
  /** typtype: b base, c composite, d domain, e enum, r range, m multirange. */
  readonly kind: string;
  readonly base: number;
  /** The dimensions that a domain over arrays declares. */
  readonly dimensions: number;
  /** The element's type, for a real array. */
  readonly element: number | null;
  readonly labels: readonly string[] | null;
  readonly attributes: readonly { readonly name: string; readonly type: number; readonly dimensions: number }[] | null;
  /** A domain's NOT NULL. */
  readonly isNotNull: boolean;
  /** Whether an extension or a user defined a cast to json, which row_to_json then uses. */
  readonly castsToJson: boolean;
}

/** Reads the types with these oids, and those that they consist of. */
const QUERY = `
  with recursive reached(oid) as (
    select unnest($1::oid[])
    union
    select next.oid from reached join pg_type t on t.oid = reached.oid cross join lateral (
      select t.typbasetype where t.typtype = 'd'
      union all select t.typelem where t.typelem <> 0
      union all select a.atttypid from pg_attribute a
        where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
    ) next(oid)
  )
  select coalesce(json_agg(found), '[]')::text as types from (select t.oid::int8 as oid, t.typtype::text as kind, t.typbasetype::int8 as base, t.typndims as dimensions,
    case when t.typsubscript::text like '%array_subscript_handler' and t.typlen = -1 then t.typelem::int8 end as element,
    (select json_agg(enumlabel order by enumsortorder) from pg_enum where enumtypid = t.oid) as labels,
    case when t.typtype = 'c' then (
      select coalesce(json_agg(json_build_object('name', attname, 'type', atttypid::int8, 'dimensions', attndims) order by attnum), '[]')
      from pg_attribute where attrelid = t.typrelid and attnum > 0 and not attisdropped) end as attributes,
    t.typnotnull as "isNotNull",
    t.oid >= 16384 and exists (select from pg_cast
      where castsource = t.oid and casttarget = 'json'::regtype and castfunc <> 0) as "castsToJson"
  from reached join pg_type t on t.oid = reached.oid) found`;

export class JsonTypes {
  readonly #types: ReadonlyMap<number, TypeRow>;

  private constructor(types: readonly TypeRow[]) {
    this.#types = new Map(types.map((type) => [type.oid, type]));
  }

  static async read(client: pg.Client, oids: readonly number[]): Promise<JsonTypes> {
    const { rows } = await client.query<{ readonly types: string }>(QUERY, [[...new Set(oids)]]);
    return new JsonTypes(JSON.parse(rows[0]?.types ?? '[]') as readonly TypeRow[]);
  }

  /** Whether a table's column of the type is never NULL. */
  isNeverNull(oid: number): boolean {
    const type = this.#types.get(oid);
    return type?.kind === 'd' && (type.isNotNull || this.isNeverNull(type.base));
  }

  /** Returns the type of a value. `dimensions`: of an array, as declared. */
  valueOf(oid: number, dimensions = 0): string {
    const type = this.#types.get(oid);
    if (type === undefined) return 'string';
    if (type.kind === 'd') return this.valueOf(type.base, dimensions || type.dimensions);
    if (oid === BOOL) return 'boolean';
    if (INTEGERS.has(oid)) return 'number';
    if (FLOATS.has(oid)) return 'Float';
    if (JSONS.has(oid)) return 'Json';
    if (type.element !== null) return this.#arrayOf(type.element, Math.max(1, dimensions));
    if (type.attributes !== null) {
      const members = type.attributes.map(
        ({ name, type: of, dimensions: depth }) => `${propertyOf(name)}: ${orNull(this.valueOf(of, depth))}`,
      );
      return members.length === 0 ? 'Record<string, never>' : `{ ${members.join('; ')} }`;
    }
    if (type.castsToJson) return 'Json';
    return type.labels === null ? 'string' : type.labels.map((label) => literalOf(label)).join(' | ');
  }

  /** Returns the type of the values that a placeholder of a channel's name accepts. */
  placeholderOf(oid: number): string {
    const type = this.#types.get(oid);
    if (type?.kind === 'd') return this.placeholderOf(type.base);
    if (oid === BOOL) return 'boolean';
    if (INTEGERS.has(oid)) return oid === INT8 ? 'number | bigint | string' : 'number';
    return type?.kind === 'e' ? this.valueOf(oid) : 'string';
  }

  #arrayOf(element: number, dimensions: number): string {
    let text = orNull(this.valueOf(element));
    for (let depth = 0; depth < dimensions; depth++)
      text = `${text.includes(' ') && depth === 0 ? `(${text})` : text}[]`;
    return text;
  }
}

export function orNull(text: string): string {
  // Json includes null.
  return text === 'Json' ? text : `${text} | null`;
}

export function propertyOf(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : literalOf(name);
}

export function literalOf(text: string): string {
  return `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;
}
