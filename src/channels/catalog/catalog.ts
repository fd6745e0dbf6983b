/**
 * The database's description of channel views, access views and their tables: the output of
 * `sno.catalog()` (sql/000001_install.sql). The event trigger also puts it into the WAL. Each kind
 * of row has one type, as plain JSON.
 */

/**
 * The version that this Snö expects from `sno.version()`; each catalog carries its own as
 * `version`.
 */
export const INSTALL_VERSION = 8;

export interface Catalog {
  readonly server: CatalogServer;
  readonly channels: readonly CatalogChannel[];
  readonly access: readonly CatalogAccess[];
  readonly tables: readonly CatalogTable[];
  /** Every type of a column of these views or tables, with its base, element and field types. */
  readonly types: readonly CatalogType[];
  /** Oids of the tables whose every change is in the publication. */
  readonly published: readonly number[];
  /** Oids of tables in the publication that transactions from before it may still be changing. */
  readonly publishing: readonly number[];
}

export interface CatalogServer {
  /** server_version_num: 180004 is 18.4. */
  readonly version: number;
  /** The database's encoding: UTF8, LATIN1, ... */
  readonly encoding: string;
}

/** A view's output column. */
export interface CatalogColumn {
  readonly name: string;
  readonly typeOid: number;
  readonly typeModifier: number;
  /** The output of `format_type`, for casts in SQL. */
  readonly type: string;
  /** Whether its collation orders bytewise (C, POSIX, or none). */
  readonly bytewise: boolean;
  /**
   * Whether equal values have the same bytes in its collation; false for nondeterministic ones
   * only.
   */
  readonly deterministic: boolean;
  /** Its collation, qualified and quoted; null if its type has none. */
  readonly collation: string | null;
}

export interface CatalogChannel {
  readonly oid: number;
  /** The view's name. */
  readonly pattern: string;
  /** The relation's kind. A channel view must be `v`; every other kind is refused by name. */
  readonly kind: string;
  /**
   * The output of `pg_get_viewdef(oid)` under search_path `pg_catalog`: names of other schemas are
   * qualified.
   */
  readonly definition: string;
  readonly columns: readonly CatalogColumn[];
  /**
   * The search_path that the view's owner has in this database. The bodies of functions look names
   * up in it.
   */
  readonly searchPath: string;
  /**
   * The functions and operators that its expressions call, and those of the views that it reads.
   */
  readonly functions: readonly CatalogFunction[];
  /**
   * The types to which these functions cast values through their text (`format_type`), and the
   * types that those consist of.
   */
  readonly castsByText: readonly string[];
  /**
   * Oids of the relations that the view reads, also through other views. They are the oids in the
   * WAL: a partition has its root's.
   */
  readonly reads: readonly number[];
  /** Its reloptions, such as security_invoker. */
  readonly options: readonly string[];
  /**
   * Tables read with the rights of a role to which row-level security applies, so that snapshots
   * lack rows.
   */
  readonly secured: readonly CatalogSecured[];
}

export interface CatalogSecured {
  /** The view that reads the table. Both names are qualified and quoted. */
  readonly reader: string;
  readonly relation: string;
  /** The role whose rights apply; null for an unknown service's (security_invoker). */
  readonly role: string | null;
  /** The table's owner. */
  readonly owner: string;
  /** Whether row-level security applies to the owner too. */
  readonly isForced: boolean;
  readonly isInvoker: boolean;
}

export interface CatalogFunction {
  readonly schema: string;
  readonly name: string;
  /** typname of each argument's type. */
  readonly arguments: readonly string[];
  /**
   * provolatile: i immutable, s stable, v volatile. Also v if the default of an argument is the
   * current time.
   */
  readonly volatility: string;
  /** prokind: f function, a aggregate, w window, p procedure. */
  readonly kind: string;
  readonly returnsSet: boolean;
  /** Whether it came with Postgres, not with an extension or a user. */
  readonly builtin: boolean;
  /** Whether its body is text whose names are looked up in the session's search_path. */
  readonly needsPath: boolean;
  /**
   * Differs if another function of this name may behave differently; null for built-in functions.
   */
  readonly body: string | null;
}

export interface CatalogAccess {
  readonly oid: number;
  readonly pattern: string;
  readonly kind: string;
  readonly definition: string;
  readonly columns: readonly CatalogColumn[];
  /**
   * The search_path that the view's owner has in this database. The bodies of functions look names
   * up in it.
   */
  readonly searchPath: string;
  /**
   * The functions and operators that its expressions call, and those of the views that it reads and
   * the policies that apply.
   */
  readonly functions: readonly CatalogFunction[];
  /** As in CatalogChannel. */
  readonly castsByText: readonly string[];
  readonly basis: CatalogAccessBasis;
  /**
   * Oids of the tables below it, also through other views and policies. They are the oids in the
   * WAL: a partition has its root's.
   */
  readonly reads: readonly number[];
  /** Oids of the views between it and its tables. */
  readonly between: readonly number[];
  /**
   * Definitions of the views between it and its tables, materialized ones too. Together with its
   * own definition, they determine its meaning.
   */
  readonly through: readonly string[];
  /** The columns that the view reads, for the tables where they are known. */
  readonly columnsRead: readonly CatalogColumnsRead[];
}

export interface CatalogColumnsRead {
  readonly relation: number;
  /** Column names. */
  readonly columns: readonly string[];
}

/** What an access view depends on, other than rows and definitions. */
export interface CatalogAccessBasis {
  /** What it reads whose changes never arrive, in words: system catalogs, sequences. */
  readonly unnoticed: readonly string[];
  /** The row-level security policies that apply to what it reads. */
  readonly policies: readonly CatalogPolicy[];
  /**
   * The relations that it may not read, that policies apply to, or that it may read through a
   * role's attributes or memberships.
   */
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
  /**
   * The role with whose rights the view reads it; null for an unknown service's (security_invoker).
   */
  readonly role: string | null;
  readonly isReadable: boolean;
  /** Whether row-level security applies. */
  readonly isSecured: boolean;
  /**
   * Whether the role may read it, or all its rows, only by an attribute (superuser, bypassrls) or
   * as a member of another role.
   */
  readonly isByRole: boolean;
}

export interface CatalogTableColumn extends CatalogColumn {
  readonly number: number;
  readonly notNull: boolean;
  /** '' none, 's' stored, 'v' virtual. */
  readonly generated: string;
  /** The expression of a generated column; null for other columns. */
  readonly expression: string | null;
  /**
   * Whether its values can be TOASTed (attstorage x, e or m). An unchanged TOASTed value may be
   * missing from an update.
   */
  readonly toastable: boolean;
  /** Differs if the column was altered, as by ALTER TYPE, which may have changed every value. */
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
  /** A view's definition, as in CatalogChannel; null for other kinds. */
  readonly definition: string | null;
  /**
   * Attribute numbers of the primary key, in its order; null if missing or deferrable: a deferrable
   * key is not an identity.
   */
  readonly primaryKey: readonly number[] | null;
  /** Attribute numbers of the index chosen by REPLICA IDENTITY USING INDEX; null if none is. */
  readonly identityIndex: readonly number[] | null;
  /**
   * Unique indexes other than the primary key that could be the replica identity: over NOT NULL
   * columns, not partial, not deferrable.
   */
  readonly uniqueIndexes: readonly CatalogIndex[];
  /**
   * Differs if that key or index was dropped and created again: several rows may have had one key
   * in between. '' if the table has no key or index.
   */
  readonly keyedAs: string;
  readonly rowSecurity: boolean;
  readonly isPartition: boolean;
  /** A partitioned table's partitions that hold its rows. */
  readonly partitions: readonly CatalogPartition[];
  /**
   * Differs if the table left the publication and was added again, or the publication was altered.
   * Null if it is not published. Ends with `:except` if the publication is for all tables except
   * this one and others.
   */
  readonly publishedAs: string | null;
  /** Whether it has inheritance children that are not partitions. */
  readonly inherited: boolean;
  /**
   * Partitions (qualified and quoted) whose replica identity differs from the root's and is not
   * wider. The partition decides what Postgres sends as the old row, though Postgres announces the
   * root's.
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
  /** As in CatalogTable; null while the partition is being dropped. */
  readonly replicaIdentity: string | null;
  /** Differs if it, or a partition above it, was detached and attached again. */
  readonly attachedAs: string;
  readonly isEmpty: boolean;
  /** Whether it has the trigger that notices a TRUNCATE of the partition alone. */
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
  /**
   * The base type as `format_type` writes it, with the domain's length or precision; null if it is
   * not a domain.
   */
  readonly baseType: string | null;
  /** Labels of an enum, in order; else null. */
  readonly labels: readonly string[] | null;
  /** Fields of a composite, in order; else null. */
  readonly fields: readonly CatalogField[] | null;
  /**
   * provolatile of the cast to json that json functions use for its values; null if they use none.
   */
  readonly jsonCast: string | null;
  /**
   * Whether a cast of text to it bypasses its input function, so that the text may be read as
   * another value.
   */
  readonly castOfText: boolean;
  /** Whether a function casts text to arrays of it. */
  readonly castOfTextToArray: boolean;
  /**
   * Whether its cast to text is a separate function, which may give another text than its output
   * function.
   */
  readonly textCast: boolean;
  /** Whether pg_catalog has an equality for exactly this type that an index can serve. */
  readonly equality: boolean;
}

export interface CatalogField {
  readonly name: string;
  readonly typeOid: number;
}
