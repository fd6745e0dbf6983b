/**
 * The types that channels understand, by what Postgres calls them. Domains count as their base type, as they do in
 * row_to_json; every other type is `other`: passed on as its text, and not compared.
 */
import type { CatalogType } from './catalog.ts';

const BUILT_IN = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  json: 114,
  float4: 700,
  float8: 701,
  bpchar: 1042,
  varchar: 1043,
  date: 1082,
  time: 1083,
  timestamp: 1114,
  timestamptz: 1184,
  numeric: 1700,
  uuid: 2950,
  jsonb: 3802,
} as const;

export type ScalarKind = keyof typeof BUILT_IN | 'enum';

/** As format_type writes them, where that is another name. */
const FORMATTED: Readonly<Record<string, string>> = {
  bool: 'boolean',
  int2: 'smallint',
  int4: 'integer',
  int8: 'bigint',
  float4: 'real',
  float8: 'double precision',
  varchar: 'character varying',
  bpchar: 'character',
  time: 'time without time zone',
  timestamp: 'timestamp without time zone',
  timestamptz: 'timestamp with time zone',
};

export interface ScalarType {
  readonly kind: ScalarKind;
  readonly oid: number;
  /** For messages. */
  readonly name: string;
  /** An enum's labels, in its order. */
  readonly labels?: readonly string[];
}

export interface ArrayType {
  readonly kind: 'array';
  readonly name: string;
  readonly element: ScalarType | OtherType;
  /** Between the elements in the text form. */
  readonly delimiter: string;
}

export interface OtherType {
  readonly kind: 'other';
  readonly name: string;
  /** A row type: IS NULL asks its columns. */
  readonly composite: boolean;
}

export type ValueType = ScalarType | ArrayType | OtherType;

const builtIn = (kind: keyof typeof BUILT_IN): ScalarType => ({
  kind,
  oid: BUILT_IN[kind],
  name: FORMATTED[kind] ?? kind,
});
const BY_NAME = new Map(
  (Object.keys(BUILT_IN) as (keyof typeof BUILT_IN)[]).map((kind) => [kind as string, builtIn(kind)]),
);
const BY_OID = new Map([...BY_NAME.values()].map((type) => [type.oid, type]));

export const BOOL = BY_NAME.get('bool') as ScalarType;
export const TEXT_TYPE = BY_NAME.get('text') as ScalarType;

export function isScalar(type: ValueType): type is ScalarType {
  return type.kind !== 'array' && type.kind !== 'other';
}

/** Whether its values have a collation. */
export function isText(type: ValueType): boolean {
  return type.kind === 'text' || type.kind === 'varchar' || type.kind === 'bpchar';
}

export function arrayOf(element: ScalarType): ArrayType {
  return { kind: 'array', name: `${element.name}[]`, element, delimiter: ',' };
}

/** Whether values of both are values of one type. */
export function sameType(a: ValueType, b: ValueType): boolean {
  if (a.kind === 'array' && b.kind === 'array') return sameType(a.element, b.element);
  return isScalar(a) && isScalar(b) && a.oid === b.oid;
}

function other(name: string, composite = false): OtherType {
  return { kind: 'other', name, composite };
}

/** Looks types up by oid and by name: the built-in ones, and those that the catalog tells of. */
export class Types {
  readonly #byOid: ReadonlyMap<number, CatalogType>;

  constructor(types: readonly CatalogType[]) {
    this.#byOid = new Map(types.map((type) => [type.oid, type]));
  }

  byOid(oid: number): ValueType {
    const known = BY_OID.get(oid);
    if (known !== undefined) return known;
    const type = this.#byOid.get(oid);
    if (type === undefined) return other(`type ${oid}`);
    if (type.base !== 0) return this.byOid(type.base);
    if (type.element !== 0) return this.#array(type);
    return this.#enum(type) ?? other(type.name, type.kind === 'c');
  }

  /** A scalar type by its name in SQL. No domains: a cast to one checks constraints. */
  byName(schema: string, name: string): ScalarType | undefined {
    if (schema === 'pg_catalog') return BY_NAME.get(name);
    for (const type of this.#byOid.values()) if (type.schema === schema && type.name === name) return this.#enum(type);
    return undefined;
  }

  #enum(type: CatalogType): ScalarType | undefined {
    return type.labels === null ? undefined : { kind: 'enum', oid: type.oid, name: type.name, labels: type.labels };
  }

  #array({ name, element, delimiter }: CatalogType): ValueType {
    const type = this.byOid(element);
    return type.kind === 'array' ? other(name) : { kind: 'array', name: `${type.name}[]`, element: type, delimiter };
  }
}
