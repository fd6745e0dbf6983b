/**
 * Derives the findings of `sno doctor` from the facts: ok, warn or fail, each with its hint. Pure.
 */
import type { Settings } from '../../config/settings.ts';
import { ERRORS } from '../../errors.ts';
import { quoteLiteral, readableName } from '../../postgres/quote.ts';
import { canDecode } from '../../postgres/wal-level.ts';
import { sizeText } from '../../size.ts';
import { counted } from '../report.ts';
import type { Facts, SlotFacts } from './facts.ts';
import { type CheckName, type Finding, fail, failAs, findings, type Outcome, ok, warn } from './finding.ts';
import { lossOutcomes, versionText } from './versions.ts';

/** The settings that the findings depend on. */
export interface Wanted {
  readonly slot: string;
  readonly publication: string;
  readonly replayWalBytes: number;
  /** 0: no limit. */
  readonly slotWalBytes: number;
  readonly slotWalPolicy: Settings['SNO_SLOT_WAL_POLICY'];
}

type Check = (facts: Facts, wanted: Wanted) => Outcome | readonly Outcome[];

const OLD_TRANSACTION_SECONDS = 300;
const FOREIGN_SLOT_BYTES = 1024 ** 3;
const STATEMENT_TIMEOUT_MS_MIN = 60_000;
const SENDER_TIMEOUT_MS_MIN = 10_000;
const CHECKS: readonly (readonly [name: CheckName, check: Check])[] = [
  [
    'version',
    ({ serverVersion }) => {
      const version = `Postgres ${versionText(serverVersion)}`;
      return serverVersion < 150_000 ? failAs('database_too_old', version) : ok(version);
    },
  ],
  ['known_loss', ({ serverVersion }) => (serverVersion < 150_000 ? [] : lossOutcomes(serverVersion))],
  [
    'primary',
    ({ inRecovery }) =>
      inRecovery ? failAs('database_standby', 'this server is a standby') : ok('this server is a primary'),
  ],
  [
    'wal_level',
    ({ serverVersion, walLevel }) => {
      const message = `wal_level is ${walLevel}`;
      return canDecode(serverVersion, walLevel) ? ok(message) : failAs('wal_level_not_logical', message);
    },
  ],
  [
    'replication_role',
    ({ role }) =>
      role.replication
        ? ok(`the role ${role.name} may replicate`)
        : fail(
            `the role ${role.name} may not replicate`,
            `Run as a superuser: alter role ${readableName(role.name)} replication; on Amazon RDS: grant rds_replication to ${readableName(role.name)};`,
          ),
  ],
  [
    'install',
    ({ install }) => {
      const hint = ERRORS.setup_required.hint;
      if (install.version === undefined) return fail('the database is not set up: schema sno is missing', hint);
      return ok(`the database is set up (version ${install.version})`);
    },
  ],
  [
    'event_trigger',
    ({ install }) => {
      if (install.version === undefined) return [];
      return install.eventTrigger
        ? ok('an event trigger puts channel definitions into the WAL')
        : warn(
            'the event triggers are missing: Snö finds new definitions by polling, a moment after their commit, and does not notice when a materialized view below an access view is refreshed concurrently',
            'Run `sno setup --apply` as a role that may create event triggers, if the provider allows it.',
          );
    },
  ],
  [
    'event_trigger_always',
    ({ install, ddl }) =>
      install.version !== undefined && install.eventTrigger && ddl.notAlways.length > 0
        ? warn(
            `event triggers are disabled, or do not fire under session_replication_role = replica: ${ddl.notAlways.join(', ')}`,
            'Run `sno setup --apply` as their owner. Until then, Snö notices some DDL seconds after its commit.',
          )
        : [],
  ],
  [
    'event_triggers_setting',
    ({ ddl }) =>
      ddl.offIn.map((place) =>
        warn(
          `event_triggers is off in: ${place}`,
          'Set it to on: Snö notices DDL of sessions without event triggers only seconds after its commit.',
        ),
      ),
  ],
  [
    'truncate_guards',
    ({ ddl }) =>
      ddl.unguarded.length === 0
        ? []
        : warn(
            `triggers that notice the TRUNCATE of a partition are not ENABLE ALWAYS: ${ddl.unguarded.join(', ')}`,
            'Run as the owner of the tables: select sno.guard_partitions();',
          ),
  ],
  [
    'publication',
    ({ publication }, { publication: name }) =>
      publication === undefined
        ? fail(`the publication ${name} does not exist`, ERRORS.setup_required.hint)
        : ok(`the publication ${name} has ${counted(publication.tables, 'table')}`),
  ],
  [
    'other_publications',
    ({ otherPublications }) =>
      otherPublications.map(({ name, tables }) =>
        tables === null
          ? warn(
              `another Snö's publication is missing: ${name}`,
              `If no Snö uses it any more: delete from sno.publications where name = ${quoteLiteral(name)};`,
            )
          : ok(`another Snö's publication, ${name}, has ${counted(tables, 'table')}`),
      ),
  ],
  ['slot', ({ slots }, wanted) => slotFinding(slots.own, slots, wanted)],
  [
    'foreign_slots',
    ({ slots }) =>
      slots.others
        .filter(({ active, retainedBytes }) => !active && retainedBytes > FOREIGN_SLOT_BYTES)
        .map(({ name, retainedBytes }) =>
          warn(
            `no process reads the slot ${name}, and it holds ${sizeText(retainedBytes)} of WAL`,
            `If it is not needed: select pg_drop_replication_slot(${quoteLiteral(name)});`,
          ),
        ),
  ],
  [
    'wal_senders',
    ({ slots, senders }) =>
      slots.own?.active === true || senders.used < senders.max
        ? ok(`${senders.used} of ${senders.max} WAL senders are in use`)
        : failAs('slots_exhausted', `all ${senders.max} WAL senders are in use`),
  ],
  [
    'slot_limit',
    ({ slotKeepBytes }, { slotWalBytes, slotWalPolicy }) => {
      const hint = `Run: alter system set max_slot_wal_keep_size = '${sizeSetting(keepBytesAdvised(slotWalBytes))}'; select pg_reload_conf(); with a size that the disk has room for.`;
      if (slotKeepBytes < 0) {
        const own =
          slotWalPolicy === 'give_up' && slotWalBytes > 0
            ? 'SNO_SLOT_WAL_BYTES bounds it only while Snö runs'
            : 'nothing bounds it';
        return warn(`max_slot_wal_keep_size is -1: a slot that no process reads fills the disk, and ${own}`, hint);
      }
      if (slotKeepBytes <= slotWalBytes) {
        return warn(
          `max_slot_wal_keep_size is ${sizeText(slotKeepBytes)}, not more than SNO_SLOT_WAL_BYTES (${sizeText(slotWalBytes)}): Postgres gives up the slot before Snö does`,
          `${hint} Or lower SNO_SLOT_WAL_BYTES.`,
        );
      }
      return ok(`max_slot_wal_keep_size is ${sizeText(slotKeepBytes)}`);
    },
  ],
  [
    'slot_idle_timeout',
    ({ slotIdleTimeoutSeconds }) =>
      slotIdleTimeoutSeconds > 0
        ? warn(
            `idle_replication_slot_timeout is ${slotIdleTimeoutSeconds} s: the slot is lost if Snö is stopped for longer`,
            'Set it to 0, or to more than the longest planned stop of Snö.',
          )
        : [],
  ],
  [
    'sender_timeout',
    ({ senderTimeoutMs }) =>
      senderTimeoutMs === 0 || senderTimeoutMs >= SENDER_TIMEOUT_MS_MIN
        ? ok(`wal_sender_timeout is ${senderTimeoutMs === 0 ? 'off' : `${senderTimeoutMs / 1_000} s`}`)
        : warn(
            `wal_sender_timeout is ${senderTimeoutMs} ms`,
            "Run: alter system set wal_sender_timeout = '60s'; select pg_reload_conf();",
          ),
  ],
  // Snö sets 0 by default, so another value comes from the URL or PGOPTIONS.
  [
    'statement_timeout',
    ({ statementTimeoutMs }) =>
      statementTimeoutMs === 0 || statementTimeoutMs >= STATEMENT_TIMEOUT_MS_MIN
        ? []
        : warn(
            `SNO_DATABASE_URL or PGOPTIONS sets statement_timeout to ${statementTimeoutMs} ms: snapshots of large channels may be cut off`,
            'Remove it there, or set it to several minutes.',
          ),
  ],
  [
    'transactions',
    ({ transactions, idleTransactionTimeoutMs }) => {
      const old = transactions.filter(({ ageSeconds }) => ageSeconds > OLD_TRANSACTION_SECONDS);
      const timeout = idleTransactionTimeoutMs === 0 ? 'off' : `${idleTransactionTimeoutMs / 1_000} s`;
      if (old.length === 0)
        return ok(`no transaction is older than 5 min (idle_in_transaction_session_timeout is ${timeout})`);
      return old.map(({ who, ageSeconds, end }) =>
        warn(
          `a transaction has been open for ${Math.round(ageSeconds / 60)} min (${who}): it holds WAL back, and no slot can be created before it ends`,
          `End it: ${end}; and set idle_in_transaction_session_timeout, which is ${timeout}.`,
        ),
      );
    },
  ],
  [
    'wal_size',
    ({ walDirectoryBytes }) =>
      ok(
        walDirectoryBytes === undefined
          ? 'this role may not see the size of the WAL on disk (grant pg_monitor to see it)'
          : `the WAL takes ${sizeText(walDirectoryBytes)} on disk`,
      ),
  ],
];

export function diagnose(facts: Facts, wanted: Wanted): readonly Finding[] {
  return CHECKS.flatMap(([name, check]) => findings(name, check(facts, wanted)));
}

function slotFinding(own: SlotFacts | undefined, { used, max, database }: Facts['slots'], wanted: Wanted): Outcome {
  const { slot } = wanted;
  if (own === undefined) {
    return used < max
      ? warn(
          `the slot ${slot} does not exist yet (${used} of ${max} slots are in use)`,
          '`sno setup --apply` or `sno start` creates it.',
        )
      : failAs('slots_exhausted', `the slot ${slot} does not exist, and all ${max} slots are in use`);
  }
  if (own.plugin !== 'pgoutput' || own.database !== database) {
    return failAs(
      'slot_mismatch',
      `the slot ${slot} is ${own.plugin === null ? 'physical' : `of ${own.plugin}, in database ${own.database}`}`,
    );
  }
  if (own.walStatus === 'lost')
    return fail(`the slot ${slot} is lost`, 'The next `sno start` creates a new one and resets every subscriber.');
  const held = `holds ${sizeText(own.retainedBytes)} of WAL`;
  if (own.walStatus === 'unreserved') {
    return warn(`the slot ${slot} ${held} and is about to be lost`, 'Start Snö, or raise max_slot_wal_keep_size.');
  }
  const { slotWalBytes, slotWalPolicy } = wanted;
  if (slotWalBytes > 0 && own.retainedBytes >= slotWalBytes) {
    const next =
      slotWalPolicy === 'give_up'
        ? 'Snö gives it up and resets its subscribers'
        : 'Snö keeps it: SNO_SLOT_WAL_POLICY=hold';
    return fail(
      `the slot ${slot} ${held}, beyond SNO_SLOT_WAL_BYTES (${sizeText(slotWalBytes)}): ${next}`,
      'Start Snö if it is stopped, end the transactions that are named below, or raise the setting.',
    );
  }
  if (!own.active && own.retainedBytes > 2 * wanted.replayWalBytes) {
    return warn(
      `no process reads the slot ${slot}, and it ${held}`,
      `Start Snö, or give up the history: select pg_drop_replication_slot(${quoteLiteral(slot)});`,
    );
  }
  return ok(`the slot ${slot} ${own.active ? 'is being read' : 'exists'} and ${held}`);
}

/** Returns more than Snö's own limit, so that Snö reaches its limit first. */
function keepBytesAdvised(slotWalBytes: number): number {
  return Math.max(4 * 1024 ** 3, 1.25 * slotWalBytes);
}

function sizeSetting(bytes: number): string {
  return `${Math.ceil(bytes / 1024 ** 3)}GB`;
}
