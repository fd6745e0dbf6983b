/**
 * The database's description of channel views, access views and their tables: the output of
 * `sno.catalog()` (sql/000001_install.sql). The event trigger also puts it into the WAL. Each kind
 * of row has one schema: the functions in the database may have another version than this process.
 */
import { z } from 'zod';

/**
 * The version that this Snö expects from `sno.version()`; each catalog carries its own as
 * `version`.
 */
export const INSTALL_VERSION = 11;

/** The schemas of access views, presence views and send views, which have one form. */
export const ACCESS_SCHEMAS = ['channel_access', 'channel_presence', 'channel_send'] as const;
export type AccessSchema = (typeof ACCESS_SCHEMAS)[number];
/** The kinds of their views, for messages. */
export const SCHEMA_NAMES: Readonly<Record<AccessSchema, string>> = {
  channel_access: 'access',
  channel_presence: 'presence',
  channel_send: 'send',
};
export type ViewSchema = 'channels' | AccessSchema;

/** The `format_type` of a dropped type. */
const GONE_TYPE = '???';

type Plain<Value> = Value extends readonly (infer Item)[]
  ? readonly Plain<Item>[]
  : Value extends object
    ? { readonly [Key in keyof Value]: Plain<Value[Key]> }
    : Value;
type Of<Schema extends z.ZodType> = Plain<z.infer<Schema>>;

const server = z.object({
  /** server_version_num: 180004 is 18.4. */
  version: z.number(),
  /** The database's encoding: UTF8, LATIN1, ... */
  encoding: z.string(),
});
export type CatalogServer = Of<typeof server>;

/** A view's output column. */
const column = z.object({
  name: z.string(),
  typeOid: z.number(),
  typeModifier: z.number(),
  /** The output of `format_type`, for casts in SQL. */
  type: z.string().refine((name) => !name.includes(GONE_TYPE), 'a dropped type'),
  /** Whether its collation orders bytewise (C, POSIX, or none). */
  bytewise: z.boolean(),
  /**
   * Whether equal values have the same bytes in its collation; false for nondeterministic ones
   * only.
   */
  deterministic: z.boolean(),
  /** Its collation, qualified and quoted; null if its type has none. */
  collation: z.string().nullable(),
});
export type CatalogColumn = Of<typeof column>;

const routine = z.object({
  schema: z.string(),
  name: z.string(),
  /** typname of each argument's type. */
  arguments: z.array(z.string()),
  /**
   * provolatile: i immutable, s stable, v volatile. Also v if the default of an argument is the
   * current time.
   */
  volatility: z.string(),
  /** prokind: f function, a aggregate, w window, p procedure. */
  kind: z.string(),
  returnsSet: z.boolean(),
  /** Whether it is part of Postgres, not of an extension or created by a user. */
  builtin: z.boolean(),
  /** Whether its body is text whose names are looked up in the session's search_path. */
  needsPath: z.boolean(),
  /**
   * Changes with the function's definition, so a replaced function is detected; null for built-in
   * functions.
   */
  body: z.string().nullable(),
});
export type CatalogFunction = Of<typeof routine>;

const secured = z.object({
  /** The view that reads the table. Both names are qualified and quoted. */
  reader: z.string(),
  relation: z.string(),
  /**
   * The role whose rights apply; null if it is the unknown role of a service (security_invoker).
   */
  role: z.string().nullable(),
  /** The table's owner. */
  owner: z.string(),
  /** Whether row-level security applies to the owner too. */
  isForced: z.boolean(),
  isInvoker: z.boolean(),
});
export type CatalogSecured = Of<typeof secured>;

/** What channel views and access views have in common. */
const view = z.object({
  oid: z.number(),
  /** The view's name. */
  pattern: z.string(),
  /** The relation's kind. It must be `v`; every other kind is refused by name. */
  kind: z.string(),
  /**
   * The output of `pg_get_viewdef(oid)` under search_path `pg_catalog`: names of other schemas are
   * qualified.
   */
  definition: z.string(),
  columns: z.array(column),
  /**
   * The search_path that the view's owner has in this database. The bodies of functions look names
   * up in it.
   */
  searchPath: z.string(),
  /**
   * The functions and operators that its expressions call, and those of the views that it reads.
   * For an access view, also those of the policies that apply.
   */
  functions: z.array(routine),
  /**
   * The types to which these functions cast values through their text (`format_type`), and the
   * types that those consist of.
   */
  castsByText: z.array(z.string()),
  /**
   * Differs if something changed that definitions do not print: the labels of the enums that it
   * uses, or its text search configurations.
   */
  surroundings: z.string(),
});

const channel = z.object({
  ...view.shape,
  /**
   * Oids of the relations that the view reads, also through other views. They are the oids in the
   * WAL: a partition has its root's.
   */
  reads: z.array(z.number()),
  /** Its reloptions, such as security_invoker. */
  options: z.array(z.string()),
  /**
   * Tables read with the rights of a role to which row-level security applies, so that snapshots
   * lack rows.
   */
  secured: z.array(secured),
});
export type CatalogChannel = Of<typeof channel>;

const policy = z.object({
  /** Qualified and quoted. */
  relation: z.string(),
  name: z.string(),
  isPermissive: z.boolean(),
  condition: z.string(),
});

const right = z.object({
  /** Qualified and quoted. */
  relation: z.string(),
  /**
   * The role with whose rights the view reads it; null if it is the unknown role of a service
   * (security_invoker).
   */
  role: z.string().nullable(),
  isReadable: z.boolean(),
  /** Whether row-level security applies. */
  isSecured: z.boolean(),
  /**
   * Whether the role may read it, or all its rows, only by an attribute (superuser, bypassrls) or
   * as a member of another role.
   */
  isByRole: z.boolean(),
});

/** The things other than rows and definitions that an access view depends on. */
const accessBasis = z.object({
  /** Relations whose changes are not in the WAL, in words: system catalogs, sequences. */
  unnoticed: z.array(z.string()),
  /** The row-level security policies that apply to what it reads. */
  policies: z.array(policy),
  /**
   * The relations that it may not read, that policies apply to, or that it may read through a
   * role's attributes or memberships.
   */
  rights: z.array(right),
});

const columnsRead = z.object({
  relation: z.number(),
  /** Column names. */
  columns: z.array(z.string()),
});

const access = z.object({
  ...view.shape,
  schema: z.enum(ACCESS_SCHEMAS),
  basis: accessBasis,
  /**
   * Oids of the tables below it, also through other views and policies. They are the oids in the
   * WAL: a partition has its root's.
   */
  reads: z.array(z.number()),
  /** Oids of the views between it and its tables. */
  between: z.array(z.number()),
  /**
   * Definitions of the views between it and its tables, materialized ones too. Together with its
   * own definition, they determine its meaning.
   */
  through: z.array(z.string()),
  /** The columns that the view reads, for the tables where they are known. */
  columnsRead: z.array(columnsRead),
});
export type CatalogAccess = Of<typeof access>;

const tableColumn = z
  .object({
    ...column.shape,
    number: z.number(),
    notNull: z.boolean(),
    /** '' none, 's' stored, 'v' virtual. */
    generated: z.string(),
    /** The expression of a generated column; null for other columns. */
    expression: z.string().nullable(),
    /**
     * Whether its values can be TOASTed (attstorage x, e or m). An unchanged TOASTed value may be
     * missing from an update.
     */
    toastable: z.boolean(),
    /** Differs if the column was altered, as by ALTER TYPE, which may have changed every value. */
    version: z.number(),
  })
  .refine(({ generated, expression }) => generated === '' || expression !== null, 'a dropped expression');
export type CatalogTableColumn = Of<typeof tableColumn>;

const index = z.object({
  name: z.string(),
  /** Attribute numbers. */
  columns: z.array(z.number()),
  /** Whether it could be the table's replica identity: its columns are NOT NULL. */
  canIdentify: z.boolean(),
});
export type CatalogIndex = Of<typeof index>;

const partition = z.object({
  oid: z.number(),
  /** Qualified and quoted. */
  name: z.string(),
  /** As in CatalogTable; all three are null while the partition is being dropped. */
  kind: z.string().nullable(),
  persistence: z.string().nullable(),
  replicaIdentity: z.string().nullable(),
  /** Differs if it, or a partition above it, was detached and attached again. */
  attachedAs: z.string(),
  isEmpty: z.boolean(),
  /** Whether it has the trigger that reports a TRUNCATE of the partition alone. */
  isGuarded: z.boolean(),
});
export type CatalogPartition = Of<typeof partition>;

const table = z
  .object({
    oid: z.number(),
    schema: z.string(),
    name: z.string(),
    /** relkind: r table, p partitioned, f foreign, v view, m materialized view. */
    kind: z.string(),
    /** relpersistence: p permanent, u unlogged, t temporary. */
    persistence: z.string(),
    /** relreplident: d default, n nothing, f full, i index. */
    replicaIdentity: z.string(),
    columns: z.array(tableColumn),
    /** A view's definition, as in CatalogChannel; null for other kinds. */
    definition: z.string().nullable(),
    /**
     * Attribute numbers of the primary key, in its order; null if missing or deferrable: a
     * deferrable key is not an identity.
     */
    primaryKey: z.array(z.number()).nullable(),
    /** Attribute numbers of the index chosen by REPLICA IDENTITY USING INDEX; null if none is. */
    identityIndex: z.array(z.number()).nullable(),
    /**
     * Unique indexes other than the primary key: not partial, not deferrable, not over expressions.
     */
    uniqueIndexes: z.array(index),
    /**
     * Differs if that key or index was dropped and created again: several rows may have had one key
     * in between. '' if the table has no key or index.
     */
    keyedAs: z.string(),
    rowSecurity: z.boolean(),
    isPartition: z.boolean(),
    /** A partitioned table's partitions that hold its rows. */
    partitions: z.array(partition),
    /**
     * Differs if the table left the publication and was added again, or the publication was
     * altered. Null if it is not published. Ends with `:except` if the publication is for all
     * tables except this one and others.
     */
    publishedAs: z.string().nullable(),
    /** Whether it has inheritance children that are not partitions. */
    inherited: z.boolean(),
    /**
     * Partitions (qualified and quoted) whose replica identity differs from the root's and is not
     * wider. The partition decides what Postgres sends as the old row, though Postgres announces
     * the root's.
     */
    unlikePartitions: z.array(z.string()),
  })
  .refine(({ kind, definition }) => kind !== 'v' || definition !== null, 'a dropped definition');
export type CatalogTable = Of<typeof table>;

const field = z.object({
  name: z.string(),
  typeOid: z.number(),
});
export type CatalogField = Of<typeof field>;

const type = z.object({
  oid: z.number(),
  schema: z.string(),
  name: z.string(),
  /** typtype: b base, c composite, d domain, e enum, p pseudo, r range, m multirange. */
  kind: z.string(),
  /** typcategory. */
  category: z.string(),
  /** Element type of an array (typsubscript array), else 0. */
  element: z.number(),
  delimiter: z.string(),
  /** Base type of a domain, else 0. */
  base: z.number(),
  /**
   * The base type as `format_type` writes it, with the domain's length or precision; null if it is
   * not a domain.
   */
  baseType: z.string().nullable(),
  /** Labels of an enum, in order; else null. */
  labels: z.array(z.string()).nullable(),
  /** Fields of a composite, in order; else null. */
  fields: z.array(field).nullable(),
  /**
   * provolatile of the cast to json that json functions use for its values; null if they use none.
   */
  jsonCast: z.string().nullable(),
  /**
   * Whether a cast of text to it bypasses its input function, so that the text may be read as
   * another value.
   */
  castOfText: z.boolean(),
  /** Whether a function casts text to arrays of it. */
  castOfTextToArray: z.boolean(),
  /**
   * Whether its cast to text is a separate function, which may give another text than its output
   * function.
   */
  textCast: z.boolean(),
  /** Whether pg_catalog has an equality for exactly this type that an index can serve. */
  equality: z.boolean(),
});
export type CatalogType = Of<typeof type>;

export const catalogSchema = z.object({
  server: server,
  channels: z.array(channel),
  /** Access views, presence views and send views. */
  access: z.array(access),
  tables: z.array(table),
  /** Every type of a column of these views or tables, with its base, element and field types. */
  types: z.array(type),
  /** Oids of the tables whose every change is in the publication. */
  published: z.array(z.number()),
  /** Oids of tables in the publication that transactions from before it may still be changing. */
  publishing: z.array(z.number()),
});
export type Catalog = Of<typeof catalogSchema>;
