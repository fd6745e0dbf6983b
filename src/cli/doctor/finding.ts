/** The findings of `sno doctor`. */
import { ERRORS, type ErrorCode } from '../../errors.ts';

/** The checks, and the subject of each. docs/json.md lists them. */
export const CHECKS = {
  version: 'the version of Postgres',
  known_loss: 'whether this version of Postgres is known to lose changes',
  primary: 'whether the server is a primary',
  wal_level: 'wal_level',
  replication_role: 'whether the role may replicate',
  install: 'whether the database is set up',
  event_trigger: 'whether the event triggers exist',
  event_trigger_always: 'whether they always fire',
  event_triggers_setting: 'whether the setting event_triggers is on',
  truncate_guards: 'whether the triggers that notice a TRUNCATE of a partition always fire',
  publication: 'the publication',
  other_publications: 'the publications of other Snö',
  slot: 'the slot of this Snö',
  foreign_slots: 'other slots that hold much WAL',
  wal_senders: 'free WAL senders',
  slot_limit: 'max_slot_wal_keep_size',
  slot_idle_timeout: 'idle_replication_slot_timeout',
  sender_timeout: 'wal_sender_timeout',
  statement_timeout: 'statement_timeout',
  transactions: 'transactions that have been open for long',
  wal_size: 'the size of the WAL on disk',
  disk: 'whether the disk has room for the WAL that the slot may hold',
  connections: 'connection limits of role, database and server',
  replication_connection: 'whether a replication connection can be opened',
  postgres_tls: 'whether the connection to Postgres is encrypted and verified',
  clock: "the difference between Postgres's clock and this machine's",
  certificate: 'the certificate for clients: expiry, key and chain',
  open_files: 'the limit of open files',
  partition_identity: 'the replica identity of partitions',
  view_rights: 'whether the owners of views may read what the views read',
  owners: 'whether the role that set Snö up may publish the tables below views',
  access_indexes: 'indexes that access views need',
  machines:
    'several machines: the reader of the WAL, the stream in JetStream, and its readers; other Snö that share no presence',
} as const;
export type CheckName = keyof typeof CHECKS;

export interface Outcome {
  readonly level: 'ok' | 'warn' | 'fail';
  readonly message: string;
  /** What to do; set for everything that is not ok. */
  readonly hint?: string;
}

export interface Finding extends Outcome {
  readonly check: CheckName;
}

export const ok = (message: string): Outcome => ({ level: 'ok', message });
export const warn = (message: string, hint: string): Outcome => ({ level: 'warn', message, hint });
export const fail = (message: string, hint: string): Outcome => ({ level: 'fail', message, hint });
export const failAs = (code: ErrorCode, message: string): Outcome => fail(message, ERRORS[code].hint);

/** The outcomes of one check as findings. */
export function findings(check: CheckName, outcomes: Outcome | readonly Outcome[]): Finding[] {
  return [outcomes].flat().map((outcome) => ({ check, ...outcome }));
}
