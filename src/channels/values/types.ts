/**
 * The supported types, by their Postgres names. A domain counts as its base type, as in
 * row_to_json. Every other type is `other`: sent as its text, and not compared.
 */
import type { CatalogField, CatalogType } from '../catalog/catalog.ts';

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

/** Whether the type is int2, int4 or int8, and no domain of one. */
export function isIntegerOid(oid: number): boolean {
  return oid === BUILT_IN.int2 || oid === BUILT_IN.int4 || oid === BUILT_IN.int8;
}

/** Names that format_type writes differently. */
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
  readonly element: ValueType;
  /** Separates the elements in the text form. */
  readonly delimiter: string;
  readonly textCast: boolean;
}

/** int2vector and oidvector: arrays whose text is only their elements, separated by spaces. */
export interface VectorType {
  readonly kind: 'vector';
  readonly name: string;
  readonly element: ValueType;
  readonly textCast: false;
}

export interface CompositeType {
  readonly kind: 'composite';
  readonly name: string;
  readonly fields: readonly { readonly name: string; readonly type: ValueType }[];
  readonly textCast: boolean;
}

export interface OtherType {
  readonly kind: 'other';
  readonly oid: number;
  readonly name: string;
  /** The last three fields are as in CatalogType. */
  readonly jsonCast: string | null;
  readonly textCast: boolean;
  readonly equality: boolean;
}

export type ValueType = ScalarType | ArrayType | VectorType | CompositeType | OtherType;

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

const STRUCTURED: ReadonlySet<string> = new Set<ValueType['kind']>(['array', 'vector', 'composite', 'other']);

export function isScalar(type: ValueType): type is ScalarType {
  return !STRUCTURED.has(type.kind);
}

/** Whether its values have a collation. */
export function isText(type: ValueType): boolean {
  return type.kind === 'text' || type.kind === 'varchar' || type.kind === 'bpchar';
}

export function arrayOf(element: ScalarType): ArrayType {
  return { kind: 'array', name: `${element.name}[]`, element, delimiter: ',', textCast: false };
}

/** Whether both are the same type. */
export function sameType(a: ValueType, b: ValueType): boolean {
  if (a.kind === 'array' && b.kind === 'array') return sameType(a.element, b.element);
  return isScalar(a) && isScalar(b) && a.oid === b.oid;
}

/** Built-in types whose cast to text is not their output function, but returns the same text. */
const SAME_TEXT: ReadonlySet<number> = new Set([18, 19, 650]); // "char", name, cidr

/**
 * Whether the cast to text always returns the text of the output function. For scalar types, see
 * compiler/expressions/cast.ts.
 */
export function printsAsText(type: Exclude<ValueType, ScalarType>): boolean {
  return (!type.textCast || (type.kind === 'other' && SAME_TEXT.has(type.oid))) && !isNaming(type);
}

/**
 * Oids of regproc, regprocedure, regoper, regoperator, regclass, regtype, regconfig, regdictionary,
 * regnamespace, regrole, regcollation, aclitem.
 */
const NAMING: ReadonlySet<number> = new Set([24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 1033]);

/** Whether its values print as names of other objects, so that renaming one changes their text. */
export function isNaming(type: ValueType): boolean {
  return partsOf(type).some((part) => part.kind === 'other' && NAMING.has(part.oid));
}

const XML = 142;

/**
 * Whether its values contain xml. Postgres stores xml with a declaration, which the output function
 * leaves out.
 */
export function isXml(type: ValueType): boolean {
  return partsOf(type).some((part) => part.kind === 'other' && part.oid === XML);
}

/**
 * The type, or the first type inside it, whose values Postgres converts to JSON by a cast to json.
 */
export function jsonCastIn(type: ValueType): OtherType | undefined {
  return partsOf(type).find((part): part is OtherType => part.kind === 'other' && part.jsonCast !== null);
}

/** The type itself, and the types of its elements and fields. */
export function partsOf(type: ValueType): readonly ValueType[] {
  if (type.kind === 'array' || type.kind === 'vector') return [type, ...partsOf(type.element)];
  if (type.kind === 'composite') return [type, ...type.fields.flatMap((field) => partsOf(field.type))];
  return [type];
}

function otherOf({ oid, name, jsonCast, textCast, equality }: CatalogType): OtherType {
  return { kind: 'other', oid, name, jsonCast, textCast, equality };
}

/** int2vector and oidvector. */
const VECTORS: ReadonlySet<number> = new Set([22, 30]);

/** Looks types up by oid and by name: the built-in ones and the catalog's. */
export class Types {
  readonly #byOid: ReadonlyMap<number, CatalogType>;

  constructor(types: readonly CatalogType[]) {
    this.#byOid = new Map(types.map((type) => [type.oid, type]));
  }

  byOid(oid: number): ValueType {
    const known = BY_OID.get(oid);
    if (known !== undefined) return known;
    const type = this.#byOid.get(oid);
    // a type that is missing in the catalog is left to Postgres
    if (type === undefined)
      return { kind: 'other', oid, name: `type ${oid}`, jsonCast: 'i', textCast: true, equality: false };
    if (type.base !== 0) return this.byOid(type.base);
    if (type.element !== 0) return this.#array(type);
    if (type.fields !== null) return this.#composite(type, type.fields);
    return this.#enum(type) ?? otherOf(type);
  }

  /**
   * Whether `=` can be written for values of the type, and is the operator that indexes serve, with
   * names looked up in pg_catalog.
   */
  hasEquality(oid: number): boolean {
    const base = this.#baseOf(oid);
    // Postgres's operators for any enum, any range and so on do not apply to domains over them
    if (base !== undefined && base.oid !== oid && base.kind !== 'b') return false;
    return partsOf(this.byOid(oid)).every((part) =>
      part.kind === 'other' ? part.equality : part.kind !== 'json' && part.kind !== 'vector',
    );
  }

  isDomain(oid: number): boolean {
    return (this.#byOid.get(oid)?.base ?? 0) !== 0;
  }

  #baseOf(oid: number): CatalogType | undefined {
    const type = this.#byOid.get(oid);
    return type === undefined || type.base === 0 ? type : this.#baseOf(type.base);
  }

  /** A scalar type by its name in SQL. Excludes domains: a cast to one checks constraints. */
  byName(schema: string, name: string): ScalarType | undefined {
    if (schema === 'pg_catalog') return BY_NAME.get(name);
    for (const type of this.#byOid.values()) if (type.schema === schema && type.name === name) return this.#enum(type);
    return undefined;
  }

  /** Undefined for an enum with casts of its own: it is not a supported type. */
  #enum({ oid, name, labels, jsonCast, textCast }: CatalogType): ScalarType | undefined {
    return labels === null || jsonCast !== null || textCast ? undefined : { kind: 'enum', oid, name, labels };
  }

  #array({ oid, name, element, delimiter, textCast }: CatalogType): ValueType {
    const type = this.byOid(element);
    if (VECTORS.has(oid)) return { kind: 'vector', name, element: type, textCast: false };
    return { kind: 'array', name: `${type.name}[]`, element: type, delimiter, textCast };
  }

  #composite({ name, textCast }: CatalogType, fields: readonly CatalogField[]): CompositeType {
    return {
      kind: 'composite',
      name,
      fields: fields.map((field) => ({ name: field.name, type: this.byOid(field.typeOid) })),
      textCast,
    };
  }
}
