/**
 * Checks the tables below views: replica identities of partitions, and owners. A wrong one breaks a
 * channel only at the next write, the next snapshot or the next new table.
 */
import type pg from 'pg';
import { readableName } from '../../postgres/quote.ts';
import { type Finding, fail, findings, type Outcome, ok, warn } from './finding.ts';

/** Finds partitions whose replica identity has fewer columns than their root's. */
const PARTITIONS = `
  select root.oid::regclass::text as root, leaf.oid::regclass::text as leaf, root.relreplident as identity
  from pg_publication_tables t
  join pg_class root on root.relname = t.tablename and root.relnamespace = to_regnamespace(quote_ident(t.schemaname)) and root.relkind = 'p'
  cross join lateral pg_partition_tree(root.oid) p
  join pg_class leaf on leaf.oid = p.relid and p.isleaf and leaf.relkind = 'r'
  where t.pubname = $1 and leaf.relreplident not in ('f', root.relreplident)
  order by 1, 2`;

/** Finds views whose owner may not read a relation that the view reads with the owner's rights. */
const UNREADABLE = `
  select distinct v.oid::regclass::text as view, r.oid::regclass::text as relation, o.rolname as owner
  from (select distinct b.view as oid from sno.below() b union select b.relation from sno.below() b) s
  join pg_class v on v.oid = s.oid and v.relkind = 'v'
  join pg_roles o on o.oid = v.relowner
  join pg_rewrite w on w.ev_class = v.oid and w.ev_type = '1'
  join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_class'::regclass and d.deptype = 'n'
  join pg_class r on r.oid = d.refobjid and r.oid <> v.oid and r.oid >= 16384
  where not exists (select from pg_options_to_table(v.reloptions) x where x.option_name = 'security_invoker' and x.option_value::boolean)
    and not has_table_privilege(v.relowner, r.oid, 'select') and not has_any_column_privilege(v.relowner, r.oid, 'select')
  order by 1, 2`;

/**
 * Finds tables below views that the role that set Snö up may not publish: it must own them, or be a
 * member of the owner.
 */
const FOREIGN = `
  select distinct t.oid::regclass::text as relation, o.rolname as owner, s.rolname as setup
  from sno.below() b
  join pg_class t on t.oid = b.relation and t.relkind in ('r', 'p')
  join pg_roles o on o.oid = t.relowner
  join pg_proc p on p.pronamespace = 'sno'::regnamespace and p.proname = 'send_catalog'
  join pg_roles s on s.oid = p.proowner
  where not s.rolsuper and not pg_has_role(s.oid, t.relowner, 'usage')
  order by 1`;

const IDENTITIES: Readonly<Record<string, string>> = { d: 'default', n: 'nothing', i: 'an index' };

export async function tableFindings(client: pg.Client, publication: string, isInstalled: boolean): Promise<Finding[]> {
  const partitions = await client.query<Record<'root' | 'leaf' | 'identity', string>>(PARTITIONS, [publication]);
  const found = findings(
    'partition_identity',
    partitions.rows.length === 0 ? IN_ORDER.partitions : partitions.rows.map(partition),
  );
  if (!isInstalled) return found;
  const unreadable = await client.query<Record<'view' | 'relation' | 'owner', string>>(UNREADABLE);
  const foreign = await client.query<Record<'relation' | 'owner' | 'setup', string>>(FOREIGN);
  return [
    ...found,
    ...findings('view_rights', unreadable.rows.length === 0 ? IN_ORDER.views : unreadable.rows.map(unreadableView)),
    ...findings('owners', foreign.rows.length === 0 ? IN_ORDER.owners : foreign.rows.map(foreignTable)),
  ];
}

const IN_ORDER = {
  partitions: ok('all partitions have the replica identity of their tables'),
  views: ok('the owners of all views may read what the views read'),
  owners: ok('the role that set Snö up may publish all tables below views'),
};

function partition({ root, leaf, identity }: Record<'root' | 'leaf' | 'identity', string>): Outcome {
  const message = `the partition ${leaf} has not the replica identity of ${root}: its rows leave channels unnoticed, or its channels are refused`;
  return fail(
    message,
    identity === 'f'
      ? `Run: alter table only ${leaf} replica identity full;`
      : `Give it the identity of ${root} (${IDENTITIES[identity] ?? identity}): alter table only ${leaf} replica identity ...; \`sno check\` prints the statement.`,
  );
}

function unreadableView({ view, relation, owner }: Record<'view' | 'relation' | 'owner', string>): Outcome {
  return fail(
    `${owner}, the owner of ${view}, may not read ${relation}: snapshots and access checks fail`,
    `Run: grant select on ${relation} to ${readableName(owner)};`,
  );
}

function foreignTable({ relation, owner, setup }: Record<'relation' | 'owner' | 'setup', string>): Outcome {
  return warn(
    `${relation} belongs to ${owner}, whose tables ${setup} may not publish: ${setup} set Snö up, and cannot add this table, or a new one in its place, to the publication`,
    `Run: grant ${readableName(owner)} to ${readableName(setup)}; or: alter table ${relation} owner to ${readableName(setup)};`,
  );
}
