import type pg from 'pg';
import type { Settings } from '../config/settings.ts';
import { createClient, createReplicationClient } from '../postgres/connect.ts';
import { quoteLiteral } from '../postgres/quote.ts';
import { ensureSetup } from '../setup/apply.ts';
import { rememberedService } from '../setup/facts.ts';
import { planSetup, type SetupOptions, type SetupStep } from '../setup/plan.ts';
import { openSlot } from '../wal/slot.ts';
import type { Command, ExitCode } from './command.ts';
import { withDatabase } from './database.ts';

/** How long creating the slot waits for transactions that were running before it, in ms. */
const SLOT_LOCK_TIMEOUT_MS = 10_000;
/**
 * Maximum rounds of setup: the needed replica identities are known once the functions are
 * installed, and the tables to publish once those are right.
 */
const ROUNDS_MAX = 3;
const FAILOVER_VERSION = 170_000;

export const setup: Command = {
  summary: 'print, or apply, the SQL that a database still needs',
  usage: '[--apply] [--service-role NAME] [--replica-identity]',
  description:
    'Prints the SQL that the database still needs, ready for psql, or says that there is nothing to do. With --apply it\n' +
    "runs it. Your app's own tables stay unchanged, except with --replica-identity.",
  operands: { min: 0, max: 0 },
  flags: {
    apply: { description: 'Run the SQL instead of printing it.' },
    'service-role': {
      value: 'NAME',
      description: 'Create a role for the service, which may only replicate and read what is published.',
    },
    'replica-identity': {
      description: 'Also change the replica identity of tables, where Snö would otherwise refuse a channel.',
    },
  },
  settings: ['SNO_DATABASE_URL', 'SNO_SLOT', 'SNO_PUBLICATION'],
  async run({ flags, settings }) {
    const role = flags.get('service-role')?.[0];
    const options = {
      publication: settings.SNO_PUBLICATION,
      identities: flags.has('replica-identity'),
      ...(role === undefined ? {} : { service: { role, isSuggestion: false } }),
    };
    return flags.has('apply') ? apply(settings, options) : print(settings, options);
  },
};

/** The suggested role of the service, if none is named now or was named before. */
const SERVICE_ROLE = 'sno';

async function print(settings: Settings, options: SetupOptions): Promise<ExitCode> {
  const steps = await withDatabase(settings, createClient, async (client) => {
    const role = (await rememberedService(client, options.publication)) ?? SERVICE_ROLE;
    const plan = await planSetup(client, { service: { role, isSuggestion: true }, ...options });
    return [...plan, await slotStep(client, settings.SNO_SLOT)].filter(({ needed }) => needed);
  });
  const title = steps.every(({ kind }) => kind === 'suggested')
    ? '-- Nothing to do: the database has all that Snö needs.\n'
    : '-- What the database still needs for Snö.\n';
  process.stdout.write([title, ...steps.map(script)].join('\n'));
  return 0;
}

const NOTES: Readonly<Record<SetupStep['kind'], string>> = {
  required: '',
  manual: '',
  optional: ' (optional: without it, Snö polls for definitions)',
  suggested:
    ' (a suggestion, commented out: the service runs as any role with these rights; setup --service-role NAME prints it as SQL)',
};

/** Returns a step as a script for psql: several statements form one transaction. */
function script({ what, sql, kind }: SetupStep): string {
  const title = `-- ${what}${NOTES[kind]}`;
  const body = sql.trim().includes('\n') ? `begin;\n${sql.trim()}\ncommit;` : sql.trim();
  // A suggestion is a comment, so that running the whole script does not run it.
  return `${title}\n${kind === 'suggested' ? body.replace(/^/gm, '-- ') : body}\n`;
}

/** Returns the step that creates the slot. It must not run in a transaction that has written. */
async function slotStep(client: pg.Client, slot: string): Promise<SetupStep & { readonly active: boolean }> {
  const { rows } = await client.query<{ version: string; state: 'missing' | 'lost' | 'active' | 'idle' }>(
    `select current_setting('server_version_num') as version, coalesce((
       select case when active then 'active' when wal_status = 'lost' then 'lost' else 'idle' end
       from pg_replication_slots where slot_name = $1), 'missing') as state`,
    [slot],
  );
  const state = rows[0]?.state;
  const name = quoteLiteral(slot);
  const failover = Number(rows[0]?.version) >= FAILOVER_VERSION ? ', failover => true' : '';
  const drop = state === 'lost' ? `select pg_drop_replication_slot(${name}); ` : '';
  return {
    what: `the replication slot ${slot}`,
    sql: `${drop}select pg_create_logical_replication_slot(${name}, 'pgoutput'${failover});`,
    needed: state === 'missing' || state === 'lost',
    kind: 'required',
    active: state === 'active',
  };
}

async function apply(settings: Settings, options: SetupOptions): Promise<ExitCode> {
  await withDatabase(settings, createClient, async (client) => {
    const done: string[] = [];
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const outcome = await ensureSetup(client, options);
      for (const what of outcome.done) if (!done.includes(what)) done.push(what);
      if (outcome.done.length > 0) continue;
      for (const { what, message } of outcome.warnings) process.stderr.write(`sno: not done: ${what}: ${message}\n`);
      break;
    }
    const slot = await slotStep(client, settings.SNO_SLOT);
    if (!slot.active) await makeSlot(settings);
    if (slot.needed) done.push(slot.what);
    const lines = done.map((what) => `done: ${what}\n`);
    process.stdout.write(lines.length === 0 ? 'Nothing to do: the database has all that Snö needs.\n' : lines.join(''));
  });
  return 0;
}

/**
 * Creates the slot as the stream does at its start: replaces a lost slot, and refuses a slot of
 * another kind.
 */
function makeSlot(settings: Settings): Promise<unknown> {
  const options = { slot: settings.SNO_SLOT, lockTimeoutMs: SLOT_LOCK_TIMEOUT_MS };
  return withDatabase(settings, createReplicationClient, (client) => openSlot(client, options, undefined));
}
