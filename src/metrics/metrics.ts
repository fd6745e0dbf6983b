/**
 * Metrics: one registry, every metric with its help text, with limited label values that all exist
 * from the start.
 *
 * Counters are incremented where events happen, by label (`metrics.resets.lagging.inc()`), so the
 * hot path looks up no label. Gauges (gauges.ts) are read at each scrape, from the sources passed
 * to `observe`.
 */
import type * as prom from 'prom-client';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { ERRORS, type ErrorCode } from '../errors.ts';
import { logLines } from '../logger.ts';
import { CLOSE, type ResetReason } from '../protocol.ts';
import { createGauges } from './gauges.ts';
import { countedPatterns } from './pattern-metrics.ts';
import { VERSION } from './version.ts';

interface Count {
  inc(by?: number): void;
}

/** A counter that the registry reads at each scrape. So counting an event is only an addition. */
class Tally implements Count {
  total = 0;

  inc(by = 1): void {
    this.total += by;
  }
}

/** Labels, all known in advance. */
const OPS = ['insert', 'update', 'delete', 'truncate', 'message'] as const;
const RESETS = [
  'position_too_old',
  'epoch_changed',
  'channel_changed',
  'lagging',
  'slot_lost',
] as const satisfies readonly ResetReason[];
const FRAMES = ['hello', 'subscribe', 'unsubscribe', 'token', 'ping', 'send', 'malformed'] as const;
const ANSWERS = ['answered', 'failed'] as const;
const DROPS = ['payload_malformed', 'channel_unknown', 'too_many_waiting'] as const;
/**
 * The limits that clients can reach, named like their settings, and the ones that no setting
 * changes.
 */
export const LIMITS = [
  'connections',
  'connections_per_address',
  'pending_connections',
  'open_files',
  'handshake_time',
  'header_bytes',
  'body_bytes',
  'hello_time',
  'frame_bytes',
  'frame_pieces',
  'frame_rate',
  'subscriptions',
  'access_waiting',
  'channel_bytes',
  'token_bytes',
  'send_rate',
  'send_bytes',
  'waiting_commits',
  'waiting_snapshots',
  'waiting_history',
  'outbound_bytes',
] as const;
export type Limit = (typeof LIMITS)[number];
/**
 * Close codes with a label of their own; all others count as `other`. 1006: the connection broke
 * without a close code.
 */
const CLOSES = ['1000', '1005', '1006', ...Object.values(CLOSE).map(String), 'other'];
const CLIENT_ERRORS = (Object.keys(ERRORS) as ErrorCode[]).filter((code) => ERRORS[code].audience === 'client');

/**
 * Bounds of buckets are powers of two, as in Prometheus's native histograms (schema 0). So
 * Prometheus converts them without error, and different histograms can be added up.
 */
const powersOfTwo = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => 2 ** (from + index));

/**
 * Commit to send: from half a millisecond on one host to minutes for a subscriber that catches up.
 */
const LATENCY_SECONDS = powersOfTwo(-11, 8);
const QUERY_SECONDS = powersOfTwo(-10, 4);
const BATCH_SIZES = powersOfTwo(0, 13);

export type Metrics = ReturnType<typeof createMetrics>;

/** Metrics with their values, as plain data. */
export type MetricValues = readonly prom.MetricObjectWithValues<prom.MetricValue<string>>[];

const JOIN_RESETS = ['rows', 'lookahead', 'unavailable', 'truncate', 'definitions', 'failed'] as const;

export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  /** Read at each scrape. */
  const counter = (
    name: string,
    help: string,
    labelNames: readonly string[],
    tallies: readonly (readonly [labels: Readonly<Record<string, string>>, tally: Tally])[],
  ) =>
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const [labels, { total }] of tallies) this.inc(labels, total);
      },
    });
  const count = (name: string, help: string): Count => {
    const tally = new Tally();
    counter(name, help, [], [[{}, tally]]);
    return tally;
  };
  const countBy = <const Label extends string>(name: string, help: string, label: string, values: readonly Label[]) => {
    const tallies = values.map((value) => [value, new Tally()] as const);
    counter(
      name,
      help,
      [label],
      tallies.map(([value, tally]) => [{ [label]: value }, tally]),
    );
    return Object.fromEntries<Count>(tallies) as Readonly<Record<Label, Count>>;
  };

  const observe = createGauges(registry);
  const patterns = countedPatterns(registry);
  new Gauge({
    name: 'sno_info',
    help: '1, labelled with the version of Snö.',
    labelNames: ['version'],
    registers,
    aggregator: 'first',
  }).set({ version: VERSION }, 1);
  new Counter({
    name: 'sno_log_lines_total',
    help: 'Lines of the log, by level.',
    labelNames: ['level'],
    registers,
    collect() {
      this.reset();
      for (const [level, lines] of Object.entries(logLines)) this.inc({ level }, lines);
    },
  });
  const compressedFrames = count(
    'sno_compressed_frames_total',
    'Frames that were compressed. Each counts once, however many clients receive it compressed.',
  );
  const compressedBytes = countBy(
    'sno_compressed_bytes_total',
    'Bytes of the frames that were compressed, before and after compression.',
    'when',
    ['before', 'after'],
  );
  const closes = countBy('sno_closes_total', 'Closed connections, by close code.', 'code', CLOSES);
  return {
    /** Seconds from a commit until its frames were handed to sockets. */
    commitToSend: new Histogram({
      name: 'sno_commit_to_send_seconds',
      help: 'Seconds from a commit in Postgres until its frames were passed to the sockets of live subscribers.',
      buckets: LATENCY_SECONDS,
      registers,
    }),
    commits: count('sno_commits_total', 'Commits read from the WAL.'),
    rows: count('sno_rows_total', 'Changed rows read from the WAL, of tables that views read.'),
    events: countBy(
      'sno_events_total',
      'Channel events, by kind. Each counts once, however many subscribers it has.',
      'op',
      OPS,
    ),
    deliveries: count('sno_deliveries_total', 'Frames with events that were passed to client sockets.'),
    /** Counts by channel pattern. */
    patterns,
    /** Counts a frame that was compressed, with its bytes before and after. */
    compression: {
      frame(bytesBefore: number, bytesAfter: number): void {
        compressedFrames.inc();
        compressedBytes.before.inc(bytesBefore);
        compressedBytes.after.inc(bytesAfter);
      },
    },
    joinQuestions: count(
      'sno_join_questions_total',
      'Times that Snö asked Postgres for rows that views join. One question serves all changes that wait.',
    ),
    joinLookups: count('sno_join_lookups_total', 'Lookups of joined rows that Postgres answered.'),
    joinResets: countBy(
      'sno_join_resets_total',
      'Times that all subscribers of a view that joins were reset, by reason.',
      'reason',
      JOIN_RESETS,
    ),
    resets: countBy('sno_resets_total', 'Resets sent to subscribers, by reason.', 'reason', RESETS),
    denials: countBy(
      'sno_denials_total',
      'Errors sent to clients, in frames and HTTP responses, by code.',
      'code',
      CLIENT_ERRORS,
    ),
    limitsMet: countBy('sno_limits_met_total', 'Times that a client reached a limit, by limit.', 'limit', LIMITS),
    tlsFailures: count('sno_tls_failures_total', 'TLS handshakes that failed.'),
    framesReceived: countBy('sno_frames_received_total', 'Frames from clients, by type.', 'type', FRAMES),
    sends: count('sno_sends_total', 'Sends of clients that were passed on to the other subscribers.'),
    messagesDropped: countBy(
      'sno_messages_dropped_total',
      'Published messages that Snö dropped, by reason.',
      'reason',
      DROPS,
    ),
    /** Number of access checks that one query answered. Its count is the number of queries. */
    accessChecks: new Histogram({
      name: 'sno_access_query_checks',
      help: 'Access checks that one database query answered.',
      buckets: BATCH_SIZES,
      registers,
    }),
    accessSeconds: new Histogram({
      name: 'sno_access_query_seconds',
      help: 'Seconds that a query of an access view took.',
      buckets: QUERY_SECONDS,
      registers,
    }),
    accessFailures: count(
      'sno_access_query_failures_total',
      'Queries of access views that failed or timed out. Clients that waited for them received `try_again`.',
    ),
    keyServer: countBy(
      'sno_key_server_requests_total',
      'Requests to the key server (SNO_JWKS_URL), by outcome.',
      'outcome',
      ANSWERS,
    ),
    reconnects: count('sno_reconnects_total', 'Times that Snö reopened the replication connection.'),
    relayPublishedBytes: count(
      'sno_relay_published_bytes_total',
      'Bytes of messages that JetStream has confirmed to this process.',
    ),
    relayHoles: count(
      'sno_relay_holes_total',
      'Times that messages of the JetStream stream were gone before they arrived here, and subscribers were reset.',
    ),
    slotLost: count('sno_slot_lost_total', 'Times that the replication slot was lost and subscribers were reset.'),
    undecodable: count('sno_undecodable_total', 'Times that Postgres failed to decode the WAL (`wal_undecodable`).'),
    spoolFaults: count(
      'sno_spool_faults_total',
      'Times that Snö could not keep a large transaction in progress (`spool_failed`).',
    ),
    slotGivenUp: count('sno_slot_given_up_total', 'Times that Snö gave up the slot at SNO_SLOT_WAL_BYTES.'),
    snapshotReads: count(
      'sno_snapshot_reads_total',
      'Reads of snapshots from the database, each of one channel or of several of one view. Clients that ask for a channel at the same time share one.',
    ),
    history: {
      passes: count(
        'sno_history_passes_total',
        'Passes through history from before the journal. Clients that resume at the same time share one.',
      ),
      batches: count('sno_history_batches_total', 'Batches of commits that passes through the history read.'),
      resumes: count('sno_history_resumes_total', 'Subscriptions that resumed from before the journal.'),
    },
    /** Counts a connection's end by its close code. */
    closed(code: number): void {
      (closes[String(code)] ?? (closes['other'] as Count)).inc();
    },
    /** Adds sources of gauges. Each stage calls it for its own gauges. */
    observe,
    workerExits: count('sno_worker_exits_total', 'Times that a worker ended unexpectedly.'),
    /** The text that /metrics returns. `contentType` is its content type. */
    text: () => registry.metrics(),
    /** All values as plain data, to be added up with those of other processes. */
    values: async () => (await registry.getMetricsAsJSON()) as MetricValues,
    contentType: registry.contentType as string,
  };
}
