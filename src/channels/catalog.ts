/**
 * What the database says of channel views, access views and their tables: the output of `sno.catalog()`
 * (sql/000001_install.sql), which the event trigger also puts into the WAL. One row type each, plain JSON.
 */

/** What this Snö expects `sno.version()` to be; each catalog has it as its `version`. */
export const INSTALL_VERSION = 8;

export interface Catalog {
  readonly server: CatalogServer;
  readonly channels: readonly CatalogChannel[];
  readonly access: readonly CatalogAccess[];
  readonly tables: readonly CatalogTable[];
  /** Every type that a column of those views or tables has, with its base, element and field types. */
  readonly types: readonly CatalogType[];
  /** Oids of those tables whose every change is in the publication. */
  readonly published: readonly number[];
  /** Those that are in the publication, where transactions that changed them before may be open. */
  readonly publishing: readonly number[];
}

export interface CatalogServer {
  /** server_version_num: 180004 is 18.4. */
  readonly version: number;
  /** Of the database: UTF8, LATIN1, ... */
  readonly encoding: string;
}

/** A view's output column. */
export interface CatalogColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** `format_type`: for casts in SQL. */
  readonly type: string;
  /** Whether its collation orders bytewise (C, POSIX, or none). */
  readonly bytewise: boolean;
  /** Whether equal means the same bytes in its collation; false for nondeterministic ones only. */
  readonly deterministic: boolean;
  /** Its collation, qualified and quoted; null where its type has none. */
  readonly collation: string | null;
}

export interface CatalogChannel {
  readonly oid: number;
  /** The view's name. */
  readonly pattern: string;
  /** `v` is what a channel view must be; others are refused by name. */
  readonly kind: string;
  /** `pg_get_viewdef(oid)` under search_path `pg_catalog`: every name of another schema is qualified. */
  readonly definition: string;
  readonly columns: readonly CatalogColumn[];
  /** Where the bodies of functions look names up: the search_path that the view's owner has in this database. */
  readonly searchPath: string;
  /** What its expressions call, operators included, and those of the views that it reads. */
  readonly functions: readonly CatalogFunction[];
  /** The types that these cast values to through their text (`format_type`), with the types that those are made of. */
  readonly castsByText: readonly string[];
  /** Oids of the relations that the view reads, through other views too, as the WAL names them (a partition by its root). */
  readonly reads: readonly number[];
  /** reloptions, such as security_invoker. */
  readonly options: readonly string[];
  /** Where row-level security applies to the role by whose rights it reads a table, so that snapshots lack rows. */
  readonly secured: readonly CatalogSecured[];
}

export interface CatalogSecured {
  /** The view that reads the table; qualified and quoted, as the table is. */
  readonly reader: string;
  readonly relation: string;
  /** Null for an unknown service's (security_invoker). */
  readonly role: string | null;
  /** The table's. */
  readonly owner: string;
  /** Row-level security applies to the owner too. */
  readonly isForced: boolean;
  readonly isInvoker: boolean;
}

export interface CatalogFunction {
  readonly schema: string;
  readonly name: string;
  /** typname of each argument's type. */
  readonly arguments: readonly string[];
  /** provolatile: i immutable, s stable, v volatile. Volatile too where the default of an argument is the current time. */
  readonly volatility: string;
  /** prokind: f function, a aggregate, w window, p procedure. */
  readonly kind: string;
  readonly returnsSet: boolean;
  /** It came with Postgres, not with an extension or a user. */
  readonly builtin: boolean;
  /** Whether its body is text in which names are looked up by the search_path of the session. */
  readonly needsPath: boolean;
  /** Differs where another function of the name may do something else; null for built-in ones. */
  readonly body: string | null;
}

export interface CatalogAccess {
  readonly oid: number;
  readonly pattern: string;
  readonly kind: string;
  readonly definition: string;
  readonly columns: readonly CatalogColumn[];
  /** Where the bodies of functions look names up: the search_path that the view's owner has in this database. */
  readonly searchPath: string;
  /** What its expressions call, operators included, and those of the views that it reads and the policies that apply. */
  readonly functions: readonly CatalogFunction[];
  /** As in CatalogChannel. */
  readonly castsByText: readonly string[];
  readonly basis: CatalogAccessBasis;
  /** Oids of the tables below it, through other views and policies too, as the WAL names them (a partition by its root). */
  readonly reads: readonly number[];
  /** Oids of the views between it and its tables. */
  readonly between: readonly number[];
  /** Definitions of the views between it and its tables, materialized ones too: with its own, they say what it means. */
  readonly through: readonly string[];
  /** Of tables of which it is known: what the view reads of them. */
  readonly columnsRead: readonly CatalogColumnsRead[];
}

export interface CatalogColumnsRead {
  readonly relation: number;
  /** By name. */
  readonly columns: readonly string[];
}

/** On what an access view depends beside rows and definitions. */
export interface CatalogAccessBasis {
  /** What it reads of which no change comes: system catalogs, sequences, in words. */
  readonly unnoticed: readonly string[];
  /** The row-level security policies that apply to what it reads. */
  readonly policies: readonly CatalogPolicy[];
  /** The relations that it may not read, or to which policies apply, or that it may read by a role's attributes or memberships. */
  readonly rights: readonly CatalogRight[];
}

export interface CatalogPolicy {
  /** Qualified and quoted. */
  readonly relation: string;
  readonly name: string;
  readonly isPermissive: boolean;
  readonly condition: string;
}

export interface CatalogRight {
  /** Qualified and quoted. */
  readonly relation: string;
  /** By whose rights the view reads it; null for an unknown service's (security_invoker). */
  readonly role: string | null;
  readonly isReadable: boolean;
  /** Row-level security applies. */
  readonly isSecured: boolean;
  /** The role may read it, or read it whole, only by its attributes (superuser, bypassrls) or as a member of another role. */
  readonly isByRole: boolean;
}

export interface CatalogTableColumn extends CatalogColumn {
  readonly number: number;
  readonly notNull: boolean;
  /** '' none, 's' stored, 'v' virtual. */
  readonly generated: string;
  /** What a generated column is generated from; null for others. */
  readonly expression: string | null;
  /** Whether its values can be TOASTed (attstorage x, e or m): those can come unchanged and unsent. */
  readonly toastable: boolean;
  /** Differs where the column was altered, as by ALTER TYPE, which may have changed every value. */
  readonly version: number;
}

export interface CatalogTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** relkind: r table, p partitioned, f foreign, v view, m materialized view. */
  readonly kind: string;
  /** relpersistence: p permanent, u unlogged, t temporary. */
  readonly persistence: string;
  /** relreplident: d default, n nothing, f full, i index. */
  readonly replicaIdentity: string;
  readonly columns: readonly CatalogTableColumn[];
  /** Of a view: as in CatalogChannel. Else null. */
  readonly definition: string | null;
  /** Attribute numbers of the primary key, in its order; null where there is none, or a deferrable one, which is no identity. */
  readonly primaryKey: readonly number[] | null;
  /** Attribute numbers of the index chosen by REPLICA IDENTITY USING INDEX; null where there is none. */
  readonly identityIndex: readonly number[] | null;
  /** Unique indexes that could be the replica identity beside the primary key: over NOT NULL columns, whole, not deferrable. */
  readonly uniqueIndexes: readonly CatalogIndex[];
  /** Differs where that key or index was dropped and made again: rows may have had one key between. '' where there is none. */
  readonly keyedAs: string;
  readonly rowSecurity: boolean;
  readonly isPartition: boolean;
  /** Of a partitioned table: the partitions that hold its rows. */
  readonly partitions: readonly CatalogPartition[];
  /**
   * Differs where the table was taken out of the publication and put in again, or the publication altered; null where there is none.
   * Ends with `:except` where the publication is for all tables but this one and others.
   */
  readonly publishedAs: string | null;
  /** Has inheritance children that are no partitions. */
  readonly inherited: boolean;
  /**
   * Partitions (qualified and quoted) that have another replica identity than the root, and not a wider one. What Postgres
   * sends as the old row is decided by the partition, though it says that it is the root's.
   */
  readonly unlikePartitions: readonly string[];
}

export interface CatalogIndex {
  readonly name: string;
  /** Attribute numbers. */
  readonly columns: readonly number[];
}

export interface CatalogPartition {
  readonly oid: number;
  /** Qualified and quoted. */
  readonly name: string;
  /** As of the table; null where the partition is going just now. */
  readonly replicaIdentity: string | null;
  /** Differs where it was detached and attached again, or one of those above it. */
  readonly attachedAs: string;
  readonly isEmpty: boolean;
  /** Has the trigger that notices a TRUNCATE of the partition alone. */
  readonly isGuarded: boolean;
}

export interface CatalogType {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** typtype: b base, c composite, d domain, e enum, p pseudo, r range, m multirange. */
  readonly kind: string;
  /** typcategory. */
  readonly category: string;
  /** Element type of an array (typsubscript array), else 0. */
  readonly element: number;
  readonly delimiter: string;
  /** Base type of a domain, else 0. */
  readonly base: number;
  /** The same as `format_type` writes it, with the domain's length or precision; null where it is no domain. */
  readonly baseType: string | null;
  /** Labels of an enum, in order; else null. */
  readonly labels: readonly string[] | null;
  /** Fields of a composite, in order; else null. */
  readonly fields: readonly CatalogField[] | null;
  /** provolatile of the cast to json by which json functions show its values; null where they do without. */
  readonly jsonCast: string | null;
  /** Whether text is cast to it otherwise than by its input function, so that it may be read as another value. */
  readonly castOfText: boolean;
  /** Whether text is cast to arrays of it by a function. */
  readonly castOfTextToArray: boolean;
  /** Whether its cast to text is a function of its own, which may give another text than its output function. */
  readonly textCast: boolean;
  /** Whether pg_catalog has an equality for this very type that an index can serve. */
  readonly equality: boolean;
}

export interface CatalogField {
  readonly name: string;
  readonly typeOid: number;
}
