/**
 * Metrics that are read at each scrape, from functions that the stages provide. Most are gauges.
 */
import { Counter, Gauge, type Registry } from 'prom-client';

const WAL_STATUSES = ['reserved', 'extended', 'unreserved', 'lost'] as const;

/** Gauges, read at each scrape. Undefined while unknown. */
const GAUGES = {
  walLagBytes: ['sno_wal_lag_bytes', 'Bytes of WAL that Postgres has written and Snö has not read.'],
  walPositionBytes: [
    'sno_wal_position_bytes',
    'Position in the WAL up to which Snö has read everything, in bytes. It grows by the WAL that Snö reads.',
  ],
  slotRetainedBytes: ['sno_slot_retained_bytes', 'Bytes of WAL that Postgres keeps for the replication slot.'],
  slotUnconfirmedBytes: [
    'sno_slot_unconfirmed_bytes',
    "Bytes of WAL after the slot's confirmed position: WAL kept for replay, and WAL that Snö has not read yet.",
  ],
  slotBoundBytes: [
    'sno_slot_bound_bytes',
    'Maximum bytes of WAL that Postgres may keep for the slot (SNO_SLOT_WAL_BYTES).',
  ],
  slotSecondsLeft: [
    'sno_slot_seconds_left',
    'Seconds until the slot reaches sno_slot_bound_bytes, at the rate of the last minute; absent while it does not grow.',
  ],
  slotFailover: ['sno_slot_failover', '1 if Postgres copies the slot to its standbys (Postgres 17 or newer), else 0.'],
  oldestTransactionSeconds: [
    'sno_oldest_transaction_seconds',
    'Age of the oldest open transaction that writes and that the role of Snö can see; absent if there is none.',
  ],
  slotGeneration: ['sno_slot_generation', 'Number of histories begun on the slot, including the current one.'],
  spoolBytes: [
    'sno_spool_bytes',
    'Bytes of large transactions in progress that Snö keeps until their commit, in memory and in temporary files.',
  ],
  workers: ['sno_workers', 'Workers that serve clients (SNO_WORKERS).'],
  workersWaitingBytes: [
    'sno_workers_waiting_bytes',
    'Bytes of the stream queued for the worker that is furthest behind.',
  ],
  connections: ['sno_connections', 'Open client connections.'],
  compressingConnections: [
    'sno_compressing_connections',
    'Open client connections that negotiated permessage-deflate.',
  ],
  eventStreams: ['sno_event_streams', 'Open event streams (SSE). sno_connections counts them too.'],
  pendingConnections: ['sno_pending_connections', 'Client connections that have not received `welcome` yet.'],
  certificateExpiry: ['sno_certificate_expires_seconds', 'When the served certificate expires, in seconds since 1970.'],
  subscriptions: ['sno_subscriptions', 'Subscriptions of all connections.'],
  compressedCopiesBytes: [
    'sno_compressed_copies_bytes',
    'Bytes of compressed copies of journal frames, in addition to sno_journal_bytes.',
  ],
  journalBytes: ['sno_journal_bytes', 'Bytes of entries in the journal.'],
  outboundBytes: ['sno_outbound_bytes', 'Bytes that wait in client sockets.'],
  journalEntries: ['sno_journal_entries', 'Entries in the journal: `changes` and messages of channels.'],
  presenceMembers: [
    'sno_presence_members',
    'Members of channels that appear through this process. A member counts once for each channel.',
  ],
  accessWaiting: ['sno_access_checks_waiting', 'Access checks that wait for an answer from the database.'],
  snapshotsRunning: ['sno_snapshots_running', 'Snapshots that are being read or sent to clients.'],
  snapshotsWaiting: ['sno_snapshots_waiting', 'Snapshots that wait, because SNO_SNAPSHOTS are being read already.'],
  ingesting: [
    'sno_ingesting',
    '1 while this process reads the WAL and publishes it, 0 while it stands by. Only with several machines.',
  ],
  relayPublishedSequence: [
    'sno_relay_published_sequence',
    'Sequence in the JetStream stream of the last message that this process published.',
  ],
  relayWaitingBytes: ['sno_relay_waiting_bytes', 'Bytes of the stream that JetStream has not confirmed yet.'],
  relayTerms: ['sno_relay_terms', 'Times that this process began to read the WAL and publish it.'],
  relaySequence: ['sno_relay_sequence', 'Sequence in the JetStream stream of the last message that has arrived here.'],
  relaySilence: ['sno_relay_silence_seconds', 'Seconds since a message of the JetStream stream has arrived here.'],
  relayCutOff: [
    'sno_relay_cut_off',
    '1 while this process is cut off from the stream and serves no clients, else 0. Only with several machines.',
  ],
  relayStreamMessages: ['sno_relay_stream_messages', 'Messages that the JetStream stream keeps.'],
  relayStreamBytes: ['sno_relay_stream_bytes', 'Bytes that the JetStream stream keeps.'],
  relayStreamAge: [
    'sno_relay_stream_age_seconds',
    'Age of the oldest message that the JetStream stream keeps, in seconds.',
  ],
  relayLag: ['sno_relay_lag_messages', 'Messages of the JetStream stream that have not arrived here yet.'],
  historyWaiting: [
    'sno_history_waiting',
    'Subscriptions that wait while history from before the journal is read for them.',
  ],
  caughtUp: ['sno_caught_up', '1 once the stream has reached the end that the WAL had at start, else 0.'],
} as const;
/** Counters whose source keeps the count. */
const COUNTERS = {
  sentBytes: ['sno_sent_bytes_total', 'Bytes passed to client sockets, before TLS.'],
  relayLeaderChanges: [
    'sno_relay_leader_changes_total',
    'Times that another NATS server became the leader of the JetStream stream.',
  ],
} as const;
/** Gauges with one value for each label value. */
const PARTED = {
  channelViews: [
    'sno_channel_views',
    'Channel views, by path: Snö evaluates their rows itself, Postgres does, or Snö refuses the view.',
    'path',
    ['process', 'postgres', 'refused'],
  ],
} as const;
/** Gauges that are 1 for the current label value and 0 for the others. */
const STATES = {
  slotWalStatus: [
    'sno_slot_wal_status',
    "The slot's wal_status in pg_replication_slots: 1 for the current status, else 0.",
    'status',
    WAL_STATUSES,
  ],
} as const;
type ValueName = keyof typeof GAUGES | keyof typeof COUNTERS;
type Parts<Name extends keyof typeof PARTED> = Readonly<Record<(typeof PARTED)[Name][3][number], number>>;
type GaugeSources = Partial<
  Record<ValueName, () => number | undefined> &
    Record<keyof typeof STATES, () => string | undefined> & {
      [Name in keyof typeof PARTED]: () => Parts<Name> | undefined;
    }
>;

/** Creates all of them. Returns a function that adds sources. */
export function createGauges(registry: Registry): (more: GaugeSources) => void {
  const registers = [registry];
  const sources: GaugeSources = {};
  for (const [key, [name, help]] of Object.entries(GAUGES)) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const value = sources[key as keyof typeof GAUGES]?.();
        // `reset` would set it to 0.
        if (value === undefined) this.remove();
        else this.set(value);
      },
    });
  }

  for (const [key, [name, help]] of Object.entries(COUNTERS)) {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(sources[key as keyof typeof COUNTERS]?.() ?? 0);
      },
    });
  }

  for (const [key, [name, help, label, values]] of Object.entries(PARTED)) {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        const parts = sources[key as keyof typeof PARTED]?.();
        if (parts === undefined) this.reset();
        else for (const value of values) this.set({ [label]: value }, parts[value]);
      },
    });
  }

  for (const [key, [name, help, label, values]] of Object.entries(STATES)) {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        const now = sources[key as keyof typeof STATES]?.();
        if (now === undefined) this.reset();
        else for (const value of values) this.set({ [label]: value }, Number(value === now));
      },
    });
  }
  return (more) => {
    Object.assign(sources, more);
  };
}
