/**
 * Decides whether Postgres sends large transactions while they are in progress, and owns the
 * assembler that keeps them until their commit. If they cannot be kept, Postgres keeps them for
 * RETRY_MS.
 */
import { tmpdir } from 'node:os';
import type { Settings } from '../config/settings.ts';
import { SnoError } from '../errors.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { type AssemblerOptions, TransactionAssembler } from '../spool/assembler.ts';
import type { ChangePipeline } from './change-pipeline.ts';

/** Bytes in memory beyond which transactions in progress are written to files. */
const MEMORY_BYTES_MAX = 16 << 20;
/** How long Postgres keeps transactions itself after Snö could not keep one, in ms. */
const RETRY_MS = 600_000;

export interface InProgressOptions extends Pick<AssemblerOptions, 'isHeld' | 'hold' | 'release' | 'onBug'> {
  readonly settings: Settings;
  readonly metrics: Metrics;
  readonly pipeline: ChangePipeline;
  /** Called to open the stream again. */
  readonly reopen: (why: SnoError) => void;
}

export class InProgress {
  readonly assembler: TransactionAssembler;
  readonly #options: InProgressOptions;
  #isPossible = true;
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
  }

  /** Whether Postgres should send transactions in progress by the next connection. */
  get isWanted(): boolean {
    return this.#isPossible && this.#options.settings.SNO_SPOOL_BYTES > 0;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.assembler.abandon();
  }

  #failed(fault: SnoError): void {
    const { metrics, reopen } = this.#options;
    metrics.spoolFaults.inc();
    this.#isPossible = false;
    this.#timer = setTimeout(() => {
      this.#isPossible = true;
      reopen(new SnoError('spool_failed', 'Snö reads large transactions in progress again'));
    }, RETRY_MS);
    this.#timer.unref();
    reopen(fault);
  }
}
