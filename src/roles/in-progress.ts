/**
 * Decides whether Postgres sends large transactions while they are in progress, and owns the
 * assembler that keeps them until their commit.
 *
 * If they cannot be kept, Postgres keeps them for RETRY_MS, and until everything committed before
 * has arrived. Otherwise a transaction that takes longer than RETRY_MS to send would be sent from
 * its start again and again.
 */
import { tmpdir } from 'node:os';
import type { Settings } from '../config/settings.ts';
import { SnoError } from '../errors.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { type AssemblerOptions, TransactionAssembler } from '../spool/assembler.ts';
import { steadyNow } from '../steady-clock.ts';
import type { ChangePipeline } from './change-pipeline.ts';

/** Bytes in memory beyond which transactions in progress are written to files. */
const MEMORY_BYTES_MAX = 16 << 20;
/** How long Postgres keeps transactions itself after Snö could not keep one, in ms. */
const RETRY_MS = 600_000;

/** Whether Postgres keeps transactions in progress, since Snö could not. */
export interface SpoolPause {
  /** Until when, on the steady clock, in ms. Undefined: there is no pause. */
  until: number | undefined;
}

export interface InProgressOptions extends Pick<AssemblerOptions, 'isHeld' | 'hold' | 'release' | 'onBug'> {
  readonly settings: Pick<Settings, 'SNO_SPOOL_BYTES' | 'SNO_SPOOL_DIR'>;
  readonly metrics: Pick<Metrics, 'spoolFaults'>;
  readonly pipeline: Pick<ChangePipeline, 'readEarly' | 'started' | 'message' | 'keepalive' | 'flush'>;
  /** Begins and ends here. It may last longer than this stream: see IngestStandby. */
  readonly pause: SpoolPause;
  /** Calls back when the stream has delivered everything committed before the call. */
  readonly afterCommitted: (call: () => void) => void;
  /** Called to open the stream again. */
  readonly reopen: (why: SnoError) => void;
}

export class InProgress {
  readonly assembler: TransactionAssembler;
  readonly #options: InProgressOptions;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: InProgressOptions) {
    this.#options = options;
    const { settings, pipeline, isHeld, hold, release, onBug } = options;
    this.assembler = new TransactionAssembler({
      store: {
        directory: settings.SNO_SPOOL_DIR ?? tmpdir(),
        bytesMax: settings.SNO_SPOOL_BYTES,
        memoryBytesMax: MEMORY_BYTES_MAX,
      },
      next: pipeline,
      read: (log) => pipeline.readEarly(log),
      isHeld,
      hold,
      release,
      onFault: (fault) => this.#failed(fault),
      onBug,
    });
    this.#endPauseLater();
  }

  /** Whether Postgres should send transactions in progress by the next connection. */
  get isWanted(): boolean {
    const { pause, settings } = this.#options;
    return pause.until === undefined && settings.SNO_SPOOL_BYTES > 0;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.assembler.abandon();
  }

  #failed(fault: SnoError): void {
    const { metrics, reopen, pause } = this.#options;
    metrics.spoolFaults.inc();
    pause.until = steadyNow() + RETRY_MS;
    this.#endPauseLater();
    reopen(fault);
  }

  #endPauseLater(): void {
    const { pause, afterCommitted } = this.#options;
    clearTimeout(this.#timer);
    if (pause.until === undefined) return;
    const ms = Math.max(0, pause.until - steadyNow());
    this.#timer = setTimeout(() => afterCommitted(() => this.#endPause()), ms);
    this.#timer.unref();
  }

  #endPause(): void {
    const { pause, reopen } = this.#options;
    pause.until = undefined;
    const hint = 'No action is needed.';
    reopen(new SnoError('spool_failed', 'Snö reads large transactions in progress again', { hint }));
  }
}
