import { SnoError } from '../../errors.ts';
import { readableName } from '../../postgres/quote.ts';
import type { CatalogTable } from '../catalog/catalog.ts';
import { canBeFull } from '../catalog/identity-statements.ts';

const NOT_IN_WAL: Readonly<Record<string, string>> = {
  f: 'is a foreign table',
  m: 'is a materialized view',
  u: 'is unlogged',
  t: 'is temporary',
};

/** The catalog's description of the publication. */
export interface Publication {
  readonly name: string;
  readonly published: ReadonlySet<number>;
  readonly publishing: ReadonlySet<number>;
}

/**
 * An error with the SQL that fixes it if the table's changes are not published; else undefined. A
 * table without an identity is published automatically once it has one, and a second ALTER
 * PUBLICATION would fail.
 */
export function publicationFault(
  table: CatalogTable,
  { name: publication, published, publishing }: Publication,
): SnoError | undefined {
  if (published.has(table.oid)) return partitionsFault(table);
  const name = readableName(table.schema, table.name);
  if (publishing.has(table.oid))
    return new SnoError('writers_open', `transactions that wrote to ${name} before it was published have not ended`);
  const never = NOT_IN_WAL[table.kind] ?? NOT_IN_WAL[table.persistence];
  if (never !== undefined) {
    return new SnoError('table_unpublished', `${name} ${never}: its changes are not in the WAL`, {
      hint: 'Read a logged table of this database.',
    });
  }
  const target = readableName(publication);
  if (table.replicaIdentity === 'f' && !canBeFull(table))
    return new SnoError(
      'table_unpublished',
      `${name} has virtual generated columns, with which REPLICA IDENTITY FULL makes UPDATE and DELETE fail in a publication`,
      { hint: `alter table ${name} replica identity default;` },
    );
  if (table.publishedAs?.endsWith(':except') === true)
    return new SnoError('table_unpublished', `${name} is excluded from the publication ${target} by EXCEPT`, {
      hint: `-- To exclude tables, list them in EXCEPT (TABLE ...):\nalter publication ${target} set all tables;`,
    });
  if (hasIdentity(table)) {
    return new SnoError(
      'table_unpublished',
      `${name} is not in the publication ${target}, or not with all of its changes (a column list, a row filter, operations left out: see sno setup)`,
      { hint: `alter publication ${target} add table only ${name};` },
    );
  }
  return new SnoError(
    'table_unpublished',
    `${name} has no primary key or replica identity, so it cannot be in the publication ${target}`,
    {
      hint: `alter table ${name} replica identity full;`,
    },
  );
}

function hasIdentity({ replicaIdentity, primaryKey, identityIndex }: CatalogTable): boolean {
  if (replicaIdentity === 'd') return primaryKey !== null;
  if (replicaIdentity === 'i') return identityIndex !== null;
  return replicaIdentity === 'f';
}

/**
 * The error for partitions whose replica identity is too narrow. Postgres sends a partition's rows
 * under the root's name, but with the old values of the partition's own identity.
 */
function partitionsFault({
  schema,
  name: relation,
  replicaIdentity,
  unlikePartitions,
}: CatalogTable): SnoError | undefined {
  if (unlikePartitions.length === 0) return undefined;
  const name = readableName(schema, relation);
  const identity = replicaIdentity === 'd' ? 'default' : 'full';
  const unlike = replicaIdentity === 'i' || replicaIdentity === 'n' ? [name, ...unlikePartitions] : unlikePartitions;
  return new SnoError(
    'replica_identity',
    `${name} has partitions whose replica identity differs from its own: ${unlikePartitions.join(', ')}`,
    {
      hint: unlike.map((relation) => `alter table only ${relation} replica identity ${identity};`).join('\n'),
    },
  );
}
