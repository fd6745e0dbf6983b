/**
 * Turns messages of the WAL into commits of channels:
 *
 *     lookahead -> decoder -> join stage -> router -> commit builder
 *
 * The lookahead asks Postgres about rows that this process cannot evaluate or does not know, and
 * holds messages until the answers are there. The join stage turns changes of joined tables into
 * changes of joined rows.
 */

import type pg from 'pg';
import { pauseBefore } from '../backoff.ts';
import type { Redefinition } from '../channels/definitions/definitions.ts';
import type { ChannelRegistry } from '../channels/definitions/registry.ts';
import { JoinLookahead } from '../channels/joins/join-lookahead.ts';
import { Joins } from '../channels/joins/joins.ts';
import { type JoinReset, JoinStage } from '../channels/joins/stage.ts';
import { RemoteAsker } from '../channels/remote/ask.ts';
import { Lookahead } from '../channels/remote/lookahead.ts';
import { RemoteAnswers } from '../channels/remote-answers.ts';
import { Router, type RouterEvents } from '../channels/router.ts';
import type { CommitBuilder } from '../commit/builder.ts';
import type { RecordingTarget } from '../commit/recording.ts';
import { PgoutputDecoder } from '../decode/pgoutput.ts';
import { ERRORS } from '../errors.ts';
import { type Logger, LogThrottle } from '../logger.ts';
import type { Lsn } from '../lsn.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { SpoolLog } from '../spool/log.ts';
import type { TransactionReader } from '../spool/reader.ts';
import { steadyNow } from '../steady-clock.ts';
import { QUIET_MS } from '../wal/keepalive.ts';
import type { StreamStart, WalHandler } from '../wal/source.ts';
import { EarlyReader } from './early-reader.ts';

/** A stream that is asked for a reply is silent for less, in ms. */
const SILENT_MS = QUIET_MS + 2_000;
const HINT_OF_DROPPED = 'Write messages by sno.publish, traces by sno.trace, and create a view for the channel.';
const HINT_OF_ROW =
  'Correct the row or the view: an expression of the view fails for this row. The subscribers were reset.';

export interface ChangePipelineOptions {
  readonly registry: ChannelRegistry;
  readonly builder: CommitBuilder;
  readonly pool: pg.Pool;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Called when another stream begins. Its first message waits for the promise. */
  readonly started: (start: StreamStart) => Promise<void>;
  /** Receives a `sno.catalog` message at its place in the stream, within its commit. */
  readonly catalog: (json: string, lsn: Lsn) => readonly Redefinition[];
  /** Called when a commit has been read to its end. */
  readonly committed: () => void;
  readonly marker: (id: string) => void;
  /** Commits a marker with this id. */
  readonly mark: (id: string) => Promise<void>;
  /** Time since something arrived from Postgres, in ms. */
  readonly silenceMs: () => number;
  readonly joinCacheBytes: number;
  readonly joinRows: number;
  /** Called when all messages that arrived together have been passed on. */
  readonly flushed: () => void;
  /** Pauses the stream until `release`. */
  readonly hold: () => void;
  readonly release: () => void;
  readonly onBug: (error: unknown) => void;
}

export class ChangePipeline implements WalHandler {
  readonly #started: ChangePipelineOptions['started'];
  readonly #router: Router;
  readonly #stage: JoinStage;
  readonly #decoder: PgoutputDecoder;
  readonly #asker: RemoteAsker;
  readonly #lookahead: Lookahead;
  readonly #joins: JoinLookahead;
  #epoch = '';
  readonly #registry: ChannelRegistry;
  readonly #target: RecordingTarget;

  constructor(options: ChangePipelineOptions) {
    const { registry, builder, pool, metrics, logger, started } = options;
    this.#started = started;
    this.#registry = registry;
    const answers = new RemoteAnswers();
    const events = routerEvents(options);
    this.#router = new Router(registry, builder, answers, events);
    this.#target = { sink: builder, events, relation: (message) => this.message(message, 0, message.length) };
    const throttle = new LogThrottle(steadyNow);
    const joins = joinsOf(registry);
    // a commit that another stream has sent before; see CommitBuilder.begin
    const isFresh = (commitLsn: Lsn) => commitLsn >= builder.head.head.lsn;
    const lookahead = new JoinLookahead({
      joins,
      answers,
      isFresh,
      pool,
      mark: options.mark,
      pause: pauseBefore,
      now: steadyNow,
      isSilent: () => options.silenceMs() > SILENT_MS,
      cacheBytesMax: options.joinCacheBytes,
      rowsMax: options.joinRows,
      onFailed: (why, error) =>
        throttle.log(why, () =>
          logger.warn(
            { reason: why, error: error.message, hint: JOIN_HINTS[why] },
            'joined rows could not be read from Postgres',
          ),
        ),
      onAsked: (lookups) => {
        metrics.joinQuestions.inc();
        metrics.joinLookups.inc(lookups);
      },
    });
    this.#joins = lookahead;
    this.#stage = new JoinStage({
      joins,
      givenUp: () => lookahead.givenUp,
      isFresh,
      rowsMax: options.joinRows,
      sink: builder,
      next: this.#router,
      onBegin: (xid) => answers.begin(xid),
      onReset: (pattern, why, detail) => {
        metrics.joinResets[why].inc();
        throttle.log(`${why} ${pattern}`, () =>
          logger.warn(
            { view: viewOf(pattern), reason: why, hint: JOIN_HINTS[why] },
            `joined rows are not known, so its subscribers are reset: ${detail}`,
          ),
        );
      },
    });
    this.#decoder = new PgoutputDecoder(this.#stage);
    this.#asker = new RemoteAsker({
      pool,
      pause: pauseBefore,
      onUnreachable: (error) =>
        logger.warn(
          { error: error.message, hint: ERRORS.database_unreachable.hint },
          'Postgres could not evaluate rows; Snö tries again',
        ),
    });
    this.#lookahead = new Lookahead({
      answers,
      routesOf: (oid) =>
        registry
          .viewsOf(oid)
          .flatMap(({ pattern, remote }) => (remote === undefined ? [] : { pattern: pattern.text, query: remote })),
      isNeeded: () => registry.isRemote,
      ask: (query, rows) => this.#asker.ask(query, rows),
      next: {
        message: (buffer, start, end) => this.#decoder.message(buffer, start, end),
        keepalive: (end) => builder.keepalive(end),
        flush: options.flushed,
      },
      joins: lookahead,
      hold: options.hold,
      release: options.release,
      onBug: options.onBug,
    });
  }

  /** Drops everything of the earlier stream that is incomplete. */
  started(start: StreamStart): Promise<void> {
    this.#lookahead.reset();
    this.#decoder.reset();
    this.#router.reset();
    this.#stage.reset();
    if (start.epoch !== this.#epoch) this.#joins.forget();
    this.#epoch = start.epoch;
    return this.#started(start);
  }

  message(buffer: Buffer, start: number, end: number): void {
    this.#lookahead.message(buffer, start, end);
  }

  keepalive(end: Lsn): void {
    this.#lookahead.keepalive(end);
  }

  flush(): void {
    this.#lookahead.flush();
  }

  /** Returns a reader for a transaction in progress. Its effects are applied at its commit. */
  readEarly(log: SpoolLog): TransactionReader {
    return new EarlyReader(this.#registry, log, this.#target, () => this.#lookahead.isWaiting);
  }

  /** Binds the views to the columns of their tables again, after the definitions were loaded. */
  rebind(): void {
    this.#router.rebind();
    this.#stage.rebind();
  }

  stop(): void {
    this.#asker.stop();
    this.#lookahead.reset();
  }
}

const JOIN_HINTS: Readonly<Record<JoinReset, string>> = {
  rows: 'Set SNO_JOIN_ROWS higher if that happens often, or change joined rows in smaller transactions.',
  lookahead: 'No action is needed if Snö was far behind. Else look for a missing index: sno check.',
  unavailable: 'Look at the error. sno check shows missing indexes; sno setup prints missing rights.',
  truncate: 'No action is needed: clients load the rows again.',
  definitions: 'No action is needed: clients load the rows again.',
  failed: 'Look at the message: an expression of the view fails for a row, or the replica identity was changed.',
};

const viewOf = (pattern: string) => `channels."${pattern}"`;

/** Returns a function that returns the joins of the definitions in force. */
function joinsOf(registry: ChannelRegistry): () => Joins {
  let views = registry.joined;
  let joins = new Joins(views);
  return () => {
    if (registry.joined !== views) {
      views = registry.joined;
      joins = new Joins(views);
    }
    return joins;
  };
}

function routerEvents({ catalog, committed, marker, metrics, logger }: ChangePipelineOptions): RouterEvents {
  const { events, commits, rows, patterns, messagesDropped } = metrics;
  const throttle = new LogThrottle(steadyNow);
  return {
    catalog,
    marker,
    dropped: (reason, detail) => {
      messagesDropped[reason].inc();
      throttle.log(reason, () =>
        logger.warn(
          { code: 'messages_dropped', reason, detail, hint: HINT_OF_DROPPED },
          'a published message was dropped',
        ),
      );
    },
    counted: (op, count) => events[op].inc(count),
    committed: (count) => {
      commits.inc();
      rows.inc(count);
      committed();
    },
    countsOf: (pattern) => patterns.of(pattern),
    failed: (pattern, error) =>
      logger.error(
        { view: viewOf(pattern), hint: HINT_OF_ROW },
        `a row of a commit could not be evaluated: ${error.message}`,
      ),
    unfit: (pattern, error) =>
      logger.warn({ view: viewOf(pattern), hint: error.hint }, `its subscribers are reset: ${error.message}`),
    fit: (pattern) => logger.info({ view: viewOf(pattern) }, 'the view fits its table again'),
  };
}
